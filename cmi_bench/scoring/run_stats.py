"""What a run counts, and where its time goes: each process for itself, added up on rank 0 when all are done."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar

STATS_FILES = "stats.rank*.json"
PARTS = ("load", "wait", "encode", "head", "score", "write", "check", "profile")
"""Of a run's wall time: building the model, waiting for what is decoded or read, encoding, scoring embeddings, or with
`score_batch`, writing embeddings and scores and results, scoring a few clips again in other company, and profiling."""

DECODE = "decode"
"""Work of the loaders, beside the parts."""
DEVICE, AUDIO = "encoding on the device", "audio that was encoded"
"""Seconds that devices took to encode audio, and seconds of that audio; without the first call of each process, which
also packs weights or compiles."""

T = TypeVar("T")


class TimeFacts(TypedDict):
    """Where the time of a run went."""

    seconds: dict[str, float]
    """Of each part, "decode" and "wall"; but for "wall" over all processes."""
    processes: int
    shares_of_wall: dict[str, float]
    """Of each part and "rest" in the wall time of all processes; they add up to 1."""


@dataclass
class RunStats:
    """Counts, and seconds of work; of several processes, their sums.

    What is `timed` in one process adds up to at most its wall time: a block inside of another one counts once, as the
    inner. Only the thread that runs the stages may time blocks. "decode" is other work, done beside by workers.
    """

    counts: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    processes: int = 1
    """Whose numbers these are."""
    named: Callable[[str], AbstractContextManager[Any]] = field(default=nullcontext, repr=False, compare=False)
    """Gives blocks their names in a trace."""
    _timed: float = field(default=0.0, repr=False, compare=False)
    """Seconds of all blocks that are over."""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time that the block takes, without that of the timed blocks in it."""
        start, before = time.perf_counter(), self._timed
        try:
            with self.named(name):
                yield
        finally:
            took = time.perf_counter() - start
            self.seconds[name] += took - (self._timed - before)
            self._timed = before + took

    def waiting(self, loaded: Iterator[T]) -> Iterator[T]:
        """Yield what is loaded; the time that it lets the model wait is "wait"."""
        while True:
            with self.timed("wait"):
                try:
                    batch = next(loaded)
                except StopIteration:
                    return
            yield batch

    def over(self, wall: float) -> TimeFacts:
        """Return the times of a run, in the words of `metadata.json`.

        Args:
            wall: Seconds from the run's start to its results.
        """
        told = {name: self.seconds[name] for name in (*PARTS, DECODE) if self.seconds.get(name)}
        seconds = {name: round(value, 3) for name, value in (told | {"wall": wall}).items()}
        shares = {name: self.seconds[name] / (wall * self.processes) for name in PARTS if name in told}
        shares["rest"] = max(1.0 - sum(shares.values()), 0.0)
        rounded = {name: round(share, 4) for name, share in shares.items()}
        return {"seconds": seconds, "processes": self.processes, "shares_of_wall": rounded}

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
    paths = sorted(folder.glob(STATS_FILES))
    total = RunStats(processes=len(paths))
    for path in paths:
        value = json.loads(path.read_text("utf-8"))
        total.counts.update(value["counts"])
        for name, seconds in value["seconds"].items():
            total.seconds[name] += seconds
    clear_stats(folder)
    return total
