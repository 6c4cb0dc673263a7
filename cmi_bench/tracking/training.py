"""What records a training: the `TrainingTracker` that the loop talks to, and what it is told when the training starts.

As with runs of the benchmark a tracker is a sink: files are written first, and whatever goes wrong in it is a warning.
Checkpoints are recorded as the models that later runs of the benchmark find by their weights and settings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cmi_bench.tracking.description import RunDescription, ScoredModel
from cmi_bench.tracking.scored_data import ScoredDataset

LEARNT, VALIDATION, CHECKED = "train", "validation", "test"
"""Contexts of a training's datasets: learnt from, validated on, and only checked that nothing of them is learnt."""


@dataclass(frozen=True)
class TrainingDescription:
    """What identifies a training, known before it starts."""

    run: RunDescription
    """Name, params and tags; its group is the sweep's, or that of trainings which differ in their seed only."""
    describe_checkpoint: Callable[[Path], ScoredModel]
    """Returns the weights and settings that a run of the benchmark with a checkpoint's folder scores with."""
    datasets: Mapping[str, Sequence[ScoredDataset]] = field(default_factory=dict)
    """By context."""
    source: str = ""
    """The file that the rows are from."""


class TrainingTracker(Protocol):
    """Records a training somewhere.

    The calls come from rank 0 only, in this order: `start`, `curves` and `checkpoint` as training goes on, `close`. No
    call raises anything, nor takes long: what fails is a warning.

    A training that is resumed goes on in the record that its folder names. The steps since its last checkpoint are
    computed and told once more, and are recorded once.
    """

    def start(self) -> None:
        """Open the record, or the one of before the training was resumed; does nothing where it is open."""

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Record points of curves.

        Args:
            step: The optimiser's steps so far.
            values: By name with its section: "train/loss", "validation/CMI-Pref musicality ACC". Those that are no
                numbers (NaN, infinite) are recorded as such where the store has a way to.
        """

    def checkpoint(self, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        """Record a checkpoint that is kept.

        Args:
            step: The optimiser's steps so far.
            folder: Its weights, configuration and card, written already.
            metrics: How good it is on validation, named as in `curves`.
        """

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """End the record, if it was started.

        Args:
            status: "FINISHED", "FAILED" or "KILLED".
            files: Files and folders of the training's folder that are worth keeping.
        """
