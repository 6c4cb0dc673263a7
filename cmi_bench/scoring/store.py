"""Scores kept by content as they are made, so that a run that was killed goes on where it stopped.

Where a stage keeps scores and failures as they are made.

Scores and failures kept in memory, for those who want no files.

What could not be scored or encoded in this run, and why: one file per process.

What each process did, and how long it took, added up for `metadata.json`.
"""

import json
import logging
import math
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.utils.files import writing_to

log = logging.getLogger(__name__)


NAMES = ("alignment", "musicality")


class StoredScore(NamedTuple):
    """One aspect, by what was judged."""

    key: str
    """Content address of the request; see `requests.request_key`."""
    alignment: float
    """NaN where the model does not judge alignment."""
    musicality: float
    """NaN where the model does not judge musicality."""


class ScoreStore:
    """A folder of append-only JSONL files, one for each process that ever wrote.

    A process never appends to a file it did not begin, so a line cut off by a kill stays the last
    of its file and is passed over by every reader; and processes never wait for each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = folder / f"{uuid.uuid4().hex}.jsonl"

    def append(self, scores: Iterable[StoredScore]) -> None:
        """Add scores and hand them to the operating system: they outlive this process.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        lines = "".join(json.dumps(_to_json(score)) + "\n" for score in scores)
        if not lines:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # One write of whole lines: a reader, or a kill, meets complete lines but for the last one.
        with self._own.open("ab", buffering=0) as file:
            file.write(lines.encode())

    def read(self) -> dict[str, StoredScore]:
        """Return all scores by key; of a key that was scored twice, the same one whoever reads."""
        found: dict[str, StoredScore] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                score = _from_line(line)
                if score is None:
                    log.debug("%s, line %d is not whole; its clip is scored again", path, number)
                else:
                    found.setdefault(score.key, score)
        return found

    def clear(self) -> None:
        """Forget all scores (`resume=false`)."""
        for path in self.folder.glob("*.jsonl"):
            path.unlink(missing_ok=True)


def _to_json(score: StoredScore) -> dict[str, Any]:
    """Write NaN as null: JSON has no NaN."""
    return {
        "key": score.key,
        "alignment": None if math.isnan(score.alignment) else score.alignment,
        "musicality": None if math.isnan(score.musicality) else score.musicality,
    }


def _from_line(line: bytes) -> StoredScore | None:
    """Return a line's score, None where the line is damaged: what is not whole is made anew, never believed."""
    try:
        value = json.loads(line)
        alignment, musicality = (math.nan if value[name] is None else float(value[name]) for name in NAMES)
        return StoredScore(str(value["key"]), alignment, musicality)
    except (ValueError, TypeError, KeyError):
        return None


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

    def append(self, key: str, error: str) -> None:
        """Record one failure."""
        with self._own.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "error": error}, ensure_ascii=False) + "\n")

    def read(self) -> dict[str, str]:
        """Return all processes' failures so far: key to reason."""
        lines = (
            line for path in sorted(self.folder.glob(FAILURE_FILES)) for line in path.read_text("utf-8").splitlines()
        )
        return {value["key"]: value["error"] for value in map(json.loads, lines)}

    def clear(self) -> None:
        """Remove the failures of an earlier run in the same folder."""
        for path in self.folder.glob(FAILURE_FILES):
            path.unlink()


class ScoreWriter:
    """Writes each score to the store and each failure to the run's log, at once."""

    def __init__(self, store: ScoreStore, failures: FailureLog) -> None:
        self.store = store
        self.failures = failures

    def keep(self, scores: Iterable[StoredScore]) -> int:
        """Store scores; an infinite one is a failure. Return how many failed.

        Raises:
            RunError: The disk is full.
        """
        finite, failed = [], 0
        for score in scores:
            if math.isinf(score.alignment) or math.isinf(score.musicality):
                reason = (
                    f"the model returned an infinite score (alignment {score.alignment}, musicality {score.musicality})"
                )
                failed += self.fail(score.key, reason)
            else:
                finite.append(score)
        self._append(finite)
        return failed

    def _append(self, scores: list[StoredScore]) -> None:
        with writing_to(self.store.folder, instead="set cache.dir to another disk"):
            self.store.append(scores)

    def fail(self, key: str, reason: str) -> int:
        """Log a failure; return 1, to be counted."""
        with writing_to(self.failures.folder, instead="set hydra.run.dir to another disk"):
            self.failures.append(key, reason)
        return 1


class MemoryScoreWriter(ScoreWriter):
    """Keeps what a stage comes to until it is asked."""

    def __init__(self) -> None:
        self.scores: dict[str, StoredScore] = {}
        self.reasons: dict[str, str] = {}
        """Why something could not be scored, by key."""

    def _append(self, scores: list[StoredScore]) -> None:
        self.scores |= {score.key: score for score in scores}

    def fail(self, key: str, reason: str) -> int:
        """Keep a failure; return 1, to be counted."""
        self.reasons[key] = reason
        return 1


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
