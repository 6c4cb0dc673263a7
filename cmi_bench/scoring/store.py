"""What a run keeps on disk as it is made: scores by content, failures, and counts of each process.

A run that was killed goes on where it stopped, as each score is on disk when its batch is done (`ScoreStore`). Failures
(`FailureLog`) and counts (`RunStats`) are the run's own, a file per process, added up when all are done.
"""

import json
import logging
import math
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmi_bench.types import Aspect, Score
from cmi_bench.utils.files import content_key, writing_to

log = logging.getLogger(__name__)

CHECKSUM = "sha256"
"""A stored record's digest of its other fields."""
MEMBERS = "members"
"""Where a record keeps what an ensemble's members say, each alignment and musicality; of other models it has none."""


class ScoreStore:
    """A folder of append-only JSONL files, one for each process that ever wrote.

    A process never appends to a file it did not begin, so a line cut off by a kill stays the last
    of its file and is passed over by every reader; and processes never wait for each other. Each
    line carries a checksum: one that was changed since is not believed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unverified: set[str] = set()
        """Keys whose stored scores were found changed, or without a checksum, when the store was last read."""
        self._own = folder / f"{uuid.uuid4().hex}.jsonl"

    def append(self, scores: Mapping[str, Score]) -> None:
        """Add scores by key and hand them to the operating system: they outlive this process.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        lines = "".join(json.dumps(_to_json(key, score)) + "\n" for key, score in scores.items())
        if not lines:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # One write of whole lines: a reader, or a kill, meets complete lines but for the last one.
        with self._own.open("ab", buffering=0) as file:
            file.write(lines.encode())

    def read(self) -> dict[str, Score]:
        """Return all scores by key; of a key that was scored twice, the same one whoever reads."""
        found: dict[str, Score] = {}
        unverified: set[str] = set()
        for path in sorted(self.folder.glob("*.jsonl")):
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                try:
                    key, score, verified = _from_line(line)
                except (ValueError, TypeError, KeyError):  # what is not whole is made anew, never believed
                    log.debug("%s, line %d is not whole; its clip is scored again", path, number)
                    continue
                if verified:
                    found.setdefault(key, score)
                else:
                    unverified.add(key)
        self.unverified = unverified - found.keys()
        return found

    def lookup(self, keys: Iterable[str]) -> dict[str, Score]:
        """Return the scores that are there of some keys; see `read` for a key that was scored twice."""
        stored = self.read()
        return {key: stored[key] for key in keys if key in stored}

    def clear(self) -> None:
        """Forget all scores (`resume=false`)."""
        for path in self.folder.glob("*.jsonl"):
            path.unlink(missing_ok=True)


def _to_json(key: str, score: Score) -> dict[str, Any]:
    """Write NaN as null: JSON has no NaN."""
    values = {aspect: score.value(aspect) for aspect in (Aspect.ALIGNMENT, Aspect.MUSICALITY)}
    record: dict[str, Any] = {"key": key, **{str(name): _null_for_nan(value) for name, value in values.items()}}
    if score.members:
        record[MEMBERS] = [list(map(_null_for_nan, member)) for member in score.members]
    return record | {CHECKSUM: content_key(**record)}


def _null_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _nan_for_null(value: Any) -> float:
    return math.nan if value is None else float(value)


def _from_line(line: bytes) -> tuple[str, Score, bool]:
    """Return a line's key and score, and whether they are what was written."""
    record = json.loads(line)
    checksum = record.pop(CHECKSUM, None)
    score = Score(
        alignment=_nan_for_null(record[Aspect.ALIGNMENT]),
        musicality=_nan_for_null(record[Aspect.MUSICALITY]),
        members=tuple((_nan_for_null(one), _nan_for_null(other)) for one, other in record.get(MEMBERS, ())),
    )
    return str(record["key"]), score, checksum == content_key(**record)


FAILURE_FILES = "failures.rank*.jsonl"
STOPPED = "stopped_by_failure"
"""Name of the file that tells all processes to stop at a failure."""


class FailureLog:
    """Failures of a run, by the key of what failed.

    They are the run's own, kept nowhere else: what failed once is tried again by the next run.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder = folder
        self._own = folder / f"failures.rank{rank}.jsonl"
        self._stopped = folder / STOPPED
        self._passed: dict[Path, int] = {}
        """Bytes of each process's file that are passed over."""

    def append(self, failures: Mapping[str, str]) -> None:
        """Record failures: key to reason."""
        # ASCII only: a reason may hold what Unicode calls the end of a line.
        lines = [json.dumps({"key": key, "error": error}) + "\n" for key, error in failures.items()]
        with self._own.open("a", encoding="utf-8") as file:
            file.writelines(lines)

    def read(self) -> dict[str, str]:
        """Return all processes' failures, but for those passed over: key to reason."""
        # Only a line feed ends a line: names and reasons may hold what `str.splitlines` splits at.
        lines = (line for path in self._files() for line in self._rest_of(path).split(b"\n") if line)
        return {value["key"]: value["error"] for value in map(json.loads, lines)}

    def pass_over(self) -> None:
        """Return none of the failures so far any more: they were of an earlier part of the run."""
        self._passed = {path: path.stat().st_size for path in self._files()}

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(FAILURE_FILES))

    def _rest_of(self, path: Path) -> bytes:
        with path.open("rb") as file:
            file.seek(self._passed.get(path, 0))
            return file.read()

    def stop(self) -> None:
        """Tell all processes to stop."""
        self._stopped.touch()

    @property
    def stopped(self) -> bool:
        """Whether a process has told all to stop."""
        return self._stopped.exists()

    def clear(self) -> None:
        """Remove the failures of an earlier run in the same folder."""
        self._stopped.unlink(missing_ok=True)
        for path in self.folder.glob(FAILURE_FILES):
            path.unlink()


class FileScoreWriter:
    """Writes scores to the store and failures to the run's log, as they are made."""

    def __init__(self, store: ScoreStore, failures: FailureLog, *, stop_on_failure: bool) -> None:
        """Take the files.

        Args:
            store: For scores.
            failures: For failures.
            stop_on_failure: Whether a failure stops the run, in all processes.
        """
        self.store = store
        self.failures = failures
        self.stop_on_failure = stop_on_failure

    def write(self, scores: Mapping[str, Score]) -> None:
        """Store scores, and log the failures among them.

        Raises:
            RunError: The disk is full.
        """
        with writing_to(self.store.folder, instead="set cache.dir to another disk"):
            self.store.append({key: score for key, score in scores.items() if not score.error})
        failures = {key: score.error for key, score in scores.items() if score.error}
        if not failures:
            return
        with writing_to(self.failures.folder, instead="set hydra.run.dir to another disk"):
            self.failures.append(failures)
            if self.stop_on_failure:
                self.failures.stop()

    @property
    def stopped(self) -> bool:
        """Whether an item has failed, in any process, and the run is to stop at that."""
        return self.stop_on_failure and self.failures.stopped


class MemoryScoreWriter:
    """Keeps all scores and failures in memory, for those who want no files."""

    stopped = False

    def __init__(self) -> None:
        self.scores: dict[str, Score] = {}

    def write(self, scores: Mapping[str, Score]) -> None:
        """Keep scores and failures."""
        self.scores |= scores


STATS_FILES = "stats.rank*.json"


@dataclass
class RunStats:
    """Counts, and seconds of work; of several processes, their sums."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time that the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def write(self, folder: Path, rank: int) -> None:
        """Leave this process's numbers for rank 0."""
        text = json.dumps({"counts": self.counts, "seconds": self.seconds})
        (folder / f"stats.rank{rank}.json").write_text(text, "utf-8")


def clear_stats(folder: Path) -> None:
    """Remove the numbers of an earlier run in the same folder."""
    for path in folder.glob(STATS_FILES):
        path.unlink()


def collect_stats(folder: Path) -> RunStats:
    """Add up all processes' numbers, and remove their files."""
    total = RunStats()
    for path in sorted(folder.glob(STATS_FILES)):
        value = json.loads(path.read_text("utf-8"))
        total.counts.update(value["counts"])
        for name, seconds in value["seconds"].items():
            total.seconds[name] += seconds
    clear_stats(folder)
    return total
