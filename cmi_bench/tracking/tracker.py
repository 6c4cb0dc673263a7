"""What records a run: the `Tracker` that tasks talk to, what it is told when a run starts, and when the run is done.

A tracker is a sink. Files are written before it is told anything, and whatever goes wrong in it is a warning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cmi_bench.evaluation.evaluate import Evaluation
from cmi_bench.tracking.ledger import LOOKS
from cmi_bench.tracking.metrics import LEFT_OUT, RecordedMetric, left_out_of_means, recorded_metrics
from cmi_bench.tracking.row_table import row_table


@dataclass(frozen=True)
class RunOutcome:
    """What a finished run came to."""

    evaluation: Evaluation
    rows: Sequence[Mapping[str, Any]]
    """The lines of `results.jsonl`."""
    metadata: Mapping[str, Any]
    """As in `metadata.json` at the end, with `counts`, `seconds` and `memory`."""
    files: Sequence[Path]
    """Files and folders of the run's folder that are worth keeping."""

    @property
    def metrics(self) -> list[RecordedMetric]:
        """All numbers of the run, with the names that they are recorded under."""
        return recorded_metrics(self.evaluation.summary, self.metadata)

    @property
    def tags(self) -> dict[str, str]:
        """What is known at the end, beside numbers: the tasks that are in no mean, the looks at test sets."""
        left_out, looks = left_out_of_means(self.evaluation.summary), self.metadata.get(LOOKS)
        tags = {LEFT_OUT: ", ".join(left_out), LOOKS: str(looks or "")}
        return {name: text for name, text in tags.items() if text}

    @property
    def row_table(self) -> dict[str, list[Any]]:
        """The scores row by row: columns of the same length, bounded in size."""
        return row_table(self.rows, self.evaluation.samples)


class Tracker(Protocol):
    """Records a run somewhere.

    The calls come from rank 0 only, in this order: `start`, `progress` now and then, `record` where the run is done,
    `close`. No call raises anything, nor takes long: what fails is a warning.
    """

    def start(self) -> None:
        """Open the run, with its name, params and tags; does nothing where it is open, or was tried to be."""

    def progress(self, clips: int) -> None:
        """Tell how many clips are scored by now."""

    def record(self, outcome: RunOutcome) -> None:
        """Record what the run came to; the run is started first if nothing has done so."""

    def close(self, status: str) -> None:
        """End the run, if it was started: "FINISHED", "FAILED" or "KILLED"."""
