"""How fast scores and embeddings are kept and found: packs, against other ways of keeping them in a folder.

`python -m benchmarks.stores [SCORES] [EMBEDDINGS]` puts a million scores (16 bytes each, 32 at a time, as batches come)
and 100,000 embeddings (12 kB each, as training reads them), opens the store anew, looks all of them up in blocks of
4,096, then some alone, counts them and prunes half. Each way does so in a process of its own: as packs, as one file for
each entry, in SQLite, and scores as JSON lines that are read as a whole. Seconds are those of a processor, as the disk
writes later. Results are printed and go to `outputs/bench/`. 3 GB of disk are needed for a while.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Protocol

from rich.table import Table

from cmi_bench.scoring.packs import PackStore
from cmi_bench.utils.console import peak_memory, plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import write_text_atomic

BATCH, BLOCK = 32, 4096
"""Entries that are put at once, and looked up at once."""
ALONE = 1000
"""Entries that are looked up one by one."""
FILES = 20_000
"""Of more entries nobody wants a file each: that way is measured with so many at most."""


class Way(Protocol):
    """A way to keep entries in a folder."""

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Add entries."""

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Look entries up."""

    def count(self) -> int:
        """Count the entries, as `task=cache` does."""

    def prune(self, most: float) -> None:
        """Remove entries until so many bytes are left."""


class Packs:
    """What the package does."""

    def __init__(self, folder: Path) -> None:
        self.store = PackStore(folder)
        self.put, self.get = self.store.put_many, self.store.get_many
        self.prune = self.store.prune

    def count(self) -> int:
        """Count."""
        return self.store.size().entries


class OneFileEach:
    """A file for each entry, below 256 folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Put."""
        for key, content in entries.items():
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            temporary.replace(path)

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Get."""
        found = {}
        for key in keys:
            content = self._path(key).read_bytes()
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                found[key] = content[32:]
        return found

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.folder.glob("??/*"):
            status = path.stat()
            yield status.st_mtime, status.st_size, path

    def count(self) -> int:
        """Count."""
        return sum(1 for _ in self._files())

    def prune(self, most: float) -> None:
        """Prune."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= most:
                break
            path.unlink()
            total -= size


class Sqlite:
    """A table of one database, with a write-ahead log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.base = sqlite3.connect(folder / "store.sqlite", isolation_level=None)
        self.base.execute("PRAGMA journal_mode=WAL")
        self.base.execute("PRAGMA synchronous=NORMAL")
        self.base.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID")

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Put."""
        with self.base:
            self.base.execute("BEGIN")
            self.base.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?)",
                [(key, hashlib.sha256(content).digest() + content) for key, content in entries.items()],
            )

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Get."""
        marks = ",".join("?" * len(keys))
        rows = self.base.execute(f"SELECT key, content FROM entries WHERE key IN ({marks})", list(keys))
        return {key: one[32:] for key, one in rows if hashlib.sha256(one[32:]).digest() == one[:32]}

    def count(self) -> int:
        """Count."""
        return int(self.base.execute("SELECT COUNT(*) FROM entries").fetchone()[0])

    def prune(self, most: float) -> None:
        """Prune: half of the keys, as no time is kept; then make the file smaller."""
        self.base.execute("DELETE FROM entries WHERE key < '8'")
        self.base.execute("VACUUM")


class JsonLines:
    """What scores were kept in before packs: all lines are read, whatever is asked for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.file = folder / "scores.jsonl"
        self.known: dict[str, bytes] | None = None

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Put."""
        lines = "".join(json.dumps({"key": key, "content": one.hex()}) + "\n" for key, one in entries.items())
        with self.file.open("a") as file:
            file.write(lines)

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Get."""
        if self.known is None:
            with self.file.open() as file:
                records = map(json.loads, file)
                self.known = {record["key"]: bytes.fromhex(record["content"]) for record in records}
        return {key: self.known[key] for key in keys if key in self.known}

    def count(self) -> int:
        """Count."""
        self.known = None
        self.get([])
        return len(self.known or ())

    def prune(self, most: float) -> None:
        """Prune: these were never pruned."""


WAYS: dict[str, Callable[[Path], Way]] = {
    "packs": Packs, "a file each": OneFileEach, "SQLite": Sqlite, "JSON lines": JsonLines
}  # fmt: skip


class StoreSpeed(NamedTuple):
    """What a way took, in seconds of a processor for all entries, where no other unit is named."""

    what: str
    way: str
    entries: int
    put: float
    open: float
    """To look the first entry up, in a new process."""
    lookup: float
    alone_us: float
    """Of one entry, looked up alone, in microseconds."""
    count: float
    prune: float
    disk_mb: float
    memory_mb: float
    """By which the process that looks everything up grows, without what it has found."""


def keys_of(entries: int) -> list[str]:
    """Return as many keys, such as requests and embeddings have."""
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(entries)]


@contextmanager
def _timed(into: dict[str, float], name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    into[name] = time.process_time() - start


def put_all(way: str, folder: Path, entries: int, size: int) -> float:
    """Put entries and return the seconds that took."""
    keys, store, took = keys_of(entries), WAYS[way](folder), dict[str, float]()
    with _timed(took, "put"):
        for start in range(0, entries, BATCH):
            batch = keys[start : start + BATCH]
            store.put({key: bytes.fromhex(key)[:16] * (size // 16) for key in batch})
    return took["put"]


def find_all(way: str, folder: Path, entries: int) -> dict[str, float]:
    """Open a store, look everything up, and count."""
    keys, took = keys_of(entries), dict[str, float]()
    before = peak_memory()["process_gb"]
    with _timed(took, "open"):
        store = WAYS[way](folder)
        assert store.get(keys[:1])
    with _timed(took, "lookup"):
        assert all(len(store.get(keys[start : start + BLOCK])) for start in range(0, entries, BLOCK))
    with _timed(took, "alone_us"):
        for key in keys[:: max(entries // ALONE, 1)]:
            store.get([key])
    took["alone_us"] *= 1e6 / len(keys[:: max(entries // ALONE, 1)])
    took["memory_mb"] = (peak_memory()["process_gb"] - before) * 1e3
    with _timed(took, "count"):
        assert store.count() == entries
    return took


def measure(what: str, way: str, entries: int, size: int, folder: Path) -> StoreSpeed:
    """Measure one way, each part in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        put = pool.submit(put_all, way, folder, entries, size).result()
        found = pool.submit(find_all, way, folder, entries).result()
        disk = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
        with _timed(found, "prune"):
            WAYS[way](folder).prune(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2)
    return StoreSpeed(what, way, entries, put, disk_mb=disk / 1e6, **found)


def _table(speeds: Sequence[StoreSpeed]) -> Table:
    columns = ("kept", "as", "entries", "put s", "open s", "lookup s", "one µs", "count s", "prune s", "disk MB", "+MB")
    table = Table(*columns)
    for one in speeds:
        figures = (one.put, one.open, one.lookup, one.alone_us, one.count, one.prune, one.disk_mb, one.memory_mb)
        table.add_row(one.what, one.way, f"{one.entries:,}", *(f"{figure:,.4g}" for figure in figures))
    return table


OUTPUT = Path("outputs/bench")
SPACE = 3e9
"""Bytes of disk that are needed for a while."""
WIDTH = 130


def main() -> None:
    """Measure, print, and write `stores.json` and `stores.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=int, nargs="?", default=1_000_000)
    parser.add_argument("embeddings", type=int, nargs="?", default=100_000)
    given = parser.parse_args()
    if shutil.disk_usage(tempfile.gettempdir()).free < SPACE:
        sys.exit(f"{tempfile.gettempdir()} needs {SPACE / 1e9:.0f} GB for a while; set TMPDIR to another disk.")
    speeds = []
    for what, entries, size in (("scores", given.scores, 16), ("embeddings", given.embeddings, 12_000)):
        for way in WAYS:
            if way == "JSON lines" and what != "scores":
                continue
            with tempfile.TemporaryDirectory() as name:
                many = min(entries, FILES) if way == "a file each" else entries
                speeds.append(measure(what, way, many, size, Path(name) / "store"))
    about = f"{platform.processor() or platform.machine()}, {cores()} cores, load {os.getloadavg()[0]:.1f}"
    views: list[Table | str] = [about, _table(speeds)]
    for view in views:
        print_view(view, width=WIDTH)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    document = {"machine": about, "speeds": [one._asdict() for one in speeds]}
    write_text_atomic(OUTPUT / "stores.json", json.dumps(document, indent=2) + "\n")
    write_text_atomic(OUTPUT / "stores.txt", "\n".join(plain_text(view) for view in views))


if __name__ == "__main__":
    main()
