"""What a run keeps on disk as it is made: scores by content, and failures of each process.

A run that was killed goes on where it stopped, as each score is on disk when its batch is done (`ScoreStore`). Failures
(`FailureLog`) are the run's own, a file per process.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from cmi_bench.config import CacheConfig
from cmi_bench.scoring.packs import PackStore, StoreSize
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.types import Score
from cmi_bench.utils.addresses import Place, below, on_this_machine, place_of
from cmi_bench.utils.files import writing_to

OPEN_STORES = 4
"""How many stores a process keeps open: of as many models it scores with in turn."""


class ScoreStore:
    """Scores by the keys of their requests, in a `PackStore`: sixteen bytes each, of an ensemble more."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.notes = PackStore(below(place, "notes"))
        """What is known of the scores as a whole, such as `batch_check` finds."""
        self._scores = PackStore(place)

    @property
    def folder(self) -> Path:
        """Where on this machine they are written, if only until they are sent to an address."""
        return on_this_machine(self.place)

    def append(self, scores: Mapping[str, Score]) -> None:
        """Add scores by key and hand them to the operating system: they outlive this process.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        self._scores.put_many({key: _to_bytes(score) for key, score in scores.items()})

    def lookup(self, keys: Iterable[str]) -> dict[str, Score]:
        """Return the scores that are there of some keys, in their order; one that was changed since is not there.

        Raises:
            RunError: An address cannot be reached.
        """
        return {key: _from_bytes(content) for key, content in self._scores.get_many(keys).items()}

    def size(self) -> StoreSize:
        """Count the scores and their bytes."""
        return self._scores.size()

    def clear(self) -> None:
        """Forget all scores (`resume=false`)."""
        self._scores.clear()
        self.notes.clear()

    def release(self) -> None:
        """Let other processes go on in what was written to; see `PackStore.release`."""
        self._scores.release()
        self.notes.release()

    def close(self) -> None:
        """At an address, send what waits as well; see `PackStore.close`."""
        self._scores.close()
        self.notes.close()


@lru_cache(OPEN_STORES)
def open_scores(place: Place) -> ScoreStore:
    """Return the store of a place that this process keeps open: what is in it is looked for once, not for each part."""
    return ScoreStore(place)


def kept_scores(cache: CacheConfig, identity: str | None) -> ScoreStore | None:
    """Return where a model's scores are kept from run to run.

    Args:
        cache: Of the configuration.
        identity: The model's.

    Returns:
        None of a model that says nothing of its identity, and without a cache.
    """
    if identity is None or not cache.dir:
        return None
    return open_scores(below(place_of(cache.dir), "scores", identity))


def _to_bytes(score: Score) -> bytes:
    numbers = [*score.columns, *(number for member in score.members for number in member)]
    return struct.pack(f"<{len(numbers)}d", *numbers)


def _from_bytes(content: bytes) -> Score:
    alignment, musicality, *members = (number for (number,) in struct.iter_unpack("<d", content))
    return Score(alignment, musicality, members=tuple(zip(members[::2], members[1::2], strict=True)))


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

    def __init__(
        self, store: ScoreStore, failures: FailureLog, *, stop_on_failure: bool, stats: RunStats | None = None
    ) -> None:
        """Take the files.

        Args:
            store: For scores.
            failures: For failures.
            stop_on_failure: Whether a failure stops the run, in all processes.
            stats: Takes the time of writing.
        """
        self.store = store
        self.failures = failures
        self.stop_on_failure = stop_on_failure
        self.stats = stats or RunStats()

    def write(self, scores: Mapping[str, Score]) -> None:
        """Store scores, and log the failures among them.

        Raises:
            RunError: The disk is full.
        """
        with self.stats.timed("write"):
            self._write(scores)

    def _write(self, scores: Mapping[str, Score]) -> None:
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
