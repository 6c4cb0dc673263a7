"""What could not be scored or encoded in this run, and why: one file per process."""

import json
from pathlib import Path

PATTERN = "failures.rank*.jsonl"
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
        lines = (line for path in sorted(self.folder.glob(PATTERN)) for line in path.read_text("utf-8").splitlines())
        return {value["key"]: value["error"] for value in map(json.loads, lines)}

    def clear(self) -> None:
        """Remove the failures of an earlier run in the same folder."""
        for path in self.folder.glob(PATTERN):
            path.unlink()
