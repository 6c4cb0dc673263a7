"""What each process did, and how long it took, added up for `metadata.json`."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PATTERN = "tally.rank*.json"


@dataclass
class Tally:
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
        (folder / f"tally.rank{rank}.json").write_text(text, "utf-8")


def clear_tallies(folder: Path) -> None:
    """Remove the numbers of an earlier run in the same folder."""
    for path in folder.glob(PATTERN):
        path.unlink()


def collect_tallies(folder: Path) -> Tally:
    """Add up all processes' numbers, and remove their files."""
    total = Tally()
    for path in sorted(folder.glob(PATTERN)):
        value = json.loads(path.read_text("utf-8"))
        total.counts.update(value["counts"])
        for name, seconds in value["seconds"].items():
            total.seconds[name] += seconds
    clear_tallies(folder)
    return total
