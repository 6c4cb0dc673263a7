"""The manifest of a data root: what its audio files are, so that nobody has to open them all again.

One Parquet table with a row per audio file. Only files that are new or changed are looked at.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmi_bench.audio.probe import measure, probe
from cmi_bench.audio.readers import AudioError
from cmi_bench.data.audio_table import VERSION, VERSION_KEY, AudioRecord, AudioTable, AudioTableBuilder, manifest_schema
from cmi_bench.errors import UserError
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import file_digest, is_regular, open_regular, replacing
from cmi_bench.utils.waiting import locked

log = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm", ".wma"}
)
ROWS_FILE = "all_test.jsonl"
MANIFEST_FILE = "manifest.parquet"
"""The manifest of a data root, where `data.manifest` does not say otherwise."""


def audio_below(root: Path) -> list[str]:
    """Return the audio files below a data root, relative to it, in order.

    Hidden folders are left out, and so are folders that are data roots themselves (such as `mini/`), links to a folder
    that they lie in, and files whose names are not UTF-8 (with a warning).
    """
    found = [path.relative_to(root).as_posix() for path in _audio_in(root, frozenset())]
    nameless = [path for path in found if not _is_utf8(path)]
    if nameless:
        log.warning("Left out %d audio files below %s: their names are not UTF-8; rename them.", len(nameless), root)
    return sorted(set(found) - set(nameless))


def _audio_in(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Yield the audio of a folder and of those in it; `above` has device and inode of those that it lies in."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError:
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not (entry / ROWS_FILE).exists():
                yield from _audio_in(entry, above | {here})
        elif entry.suffix.lower() in AUDIO_SUFFIXES:
            yield entry


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def examine(root: Path, path: str, *, decode: bool) -> AudioRecord | None:
    """Return what a file of the data root is, None if there is no such file (any more).

    Args:
        root: The data root.
        path: The file, relative to it.
        decode: Decode all of it, which takes 10 to 100 times as long as reading its headers.
    """
    file = root / path
    try:
        stat = file.stat()
        sha256 = file_digest(file)
    except OSError:
        return None
    record = AudioRecord(path, stat.st_size, stat.st_mtime_ns, sha256)
    facts = {}
    try:
        facts = asdict(probe(file))
        if decode:
            measured = measure(file)
            facts |= {"decoded_seconds": measured.seconds, "peak": measured.peak}
    except AudioError as error:
        facts |= {"error": error.what.replace(f"{file}", path)}
    return AudioRecord(**asdict(record) | facts)


@dataclass(frozen=True)
class Manifest:
    """What is known of a data root's audio files."""

    records: AudioTable = field(default_factory=AudioTable)
    """By path, relative to the data root."""

    def audio_digest(self, paths: Iterable[str], names: Mapping[str, str] | None = None) -> str:
        """Return one SHA-256 for the contents of files and their names; it is the same on every machine.

        Args:
            paths: The files; those without a record do not count.
            names: Of files whose paths say where they lie on this machine, what they are called anywhere.
        """
        return self.digest_of(self.records.places_of(paths), names)

    def digest_of(self, places: npt.NDArray[np.int64], names: Mapping[str, str] | None = None) -> str:
        """Return what `audio_digest` does, of the records at some places of the table, each once and in order."""
        named: Iterable[tuple[str, str]] = (
            (self.records.path_at(place), self.records.sha256_at(place)) for place in places.tolist()
        )
        if names:  # sorted by name; files of two roots may have the same one
            named = sorted((names.get(path, path), sha256) for path, sha256 in named)
        digest = hashlib.sha256()
        for name, sha256 in named:
            digest.update(f"{name}\t{sha256}\n".encode())
        return digest.hexdigest()


def read_manifest(file: Path) -> Manifest:
    """Read a manifest; where there is none, or one that cannot be used, it is empty."""
    import pyarrow
    from pyarrow import parquet

    try:
        with open_regular(file) as opened:
            # Threads gain nothing here, and one that is still starting when the process ends aborts it.
            table = parquet.ParquetFile(opened, pre_buffer=False).read(use_threads=False)  # imports no pandas
    except FileNotFoundError:
        return Manifest()
    except (OSError, pyarrow.ArrowException) as error:
        log.warning("%s cannot be read and is made anew: %s", file, error)
        return Manifest()
    if (table.schema.metadata or {}).get(VERSION_KEY) != VERSION.encode():
        log.info("%s is of another version and is made anew.", file)
        return Manifest()
    if not table.schema.equals(manifest_schema()):
        log.warning("%s has other columns than a manifest and is made anew.", file)
        return Manifest()
    return Manifest(AudioTable(table))


def write_manifest(file: Path, manifest: Manifest) -> None:
    """Write a manifest, so that no reader ever sees half of it.

    Raises:
        OSError: The place cannot be written to.
    """
    from pyarrow import parquet

    with replacing(file) as opened:
        parquet.write_table(manifest.records.table, opened)


Progress = Callable[[Iterable[AudioRecord], int], Iterable[AudioRecord]]
"""Passes on the records of so many files as they come, and shows how many there were."""


def update_manifest(
    root: Path,
    file: Path,
    paths: Iterable[str],
    *,
    decode: bool = False,
    workers: int | None = None,
    progress: Progress = lambda records, _total: records,
) -> Manifest:
    """Return a manifest that is true for the files named, and keep it for the next time.

    A file whose size and time are those of its record is not opened. What was found out is kept even if the
    work is stopped half way. Records of other files stay; those of files that are gone go.

    Args:
        root: The data root.
        file: The manifest's file; where it cannot be written, what was found is returned all the same.
        paths: Audio files, relative to the root; those that do not exist are passed over.
        decode: Decode the files as well (once): without it, only headers and digests are looked at.
        workers: Files looked at in parallel; None: as many as there are cores.
        progress: Wraps the records as they come.
    """
    known = read_manifest(file).records
    stale = [path for path in _often_once(paths) if _is_stale(root, path, known.get(path), decode=decode)]
    if not stale:
        return Manifest(known)
    found = AudioTableBuilder()
    try:
        for record in progress(_examine_all(root, stale, decode=decode, workers=workers), len(stale)):
            found.append(record)
    finally:
        known = _keep(root, file, found.table())
    return Manifest(known)


PATHS_REMEMBERED = 1 << 16
"""Where many rows name one file, it is looked at once among so many that differ."""


def _often_once(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths, each once among many."""
    seen: set[str] = set()
    for path in paths:
        if path not in seen:
            yield path
            if len(seen) == PATHS_REMEMBERED:
                seen.clear()
            seen.add(path)


def _is_stale(root: Path, path: str, record: AudioRecord | None, *, decode: bool) -> bool:
    try:
        stat = (root / path).stat()
    except (OSError, ValueError):
        return False
    return record is None or not record.describes(stat) or (decode and not record.was_decoded)


def _examine_all(root: Path, paths: Sequence[str], *, decode: bool, workers: int | None) -> Iterator[AudioRecord]:
    # Threads: digests, headers and samples are the business of C code, which runs outside the interpreter's lock.
    count = workers or cores()
    remaining, jobs = iter(paths), set[Future[AudioRecord | None]]()
    with ThreadPoolExecutor(count) as pool:
        try:
            while True:
                jobs |= {
                    pool.submit(examine, root, path, decode=decode) for path in islice(remaining, 4 * count - len(jobs))
                }
                if not jobs:
                    return
                done, jobs = wait(jobs, return_when=FIRST_COMPLETED)
                yield from (record for job in done if (record := job.result()) is not None)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


LOCK_SECONDS = 60.0
"""How long to wait for another process that writes the manifest, which takes it well below a second."""


def _keep(root: Path, file: Path, found: AudioTable) -> AudioTable:
    """Write what was found beside what is known by now (another run may have added to it), and return both."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_name(f".{file.name}.lock"), seconds=LOCK_SECONDS, what=f"writes {file}"):
            known = read_manifest(file).records.where(lambda path: is_regular(root / path)).updated(found)
            write_manifest(file, Manifest(known))
            return known
    except (OSError, UserError) as error:
        reason = error.what if isinstance(error, UserError) else error.strerror
        log.warning("The manifest %s cannot be kept (%s); the next run looks at the audio again.", file, reason)
        return read_manifest(file).records.updated(found)
