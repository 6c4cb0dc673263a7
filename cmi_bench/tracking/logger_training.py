"""A training in Weights & Biases or in CSV files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cmi_bench.config import TrackingConfig, TrackingKind
from cmi_bench.tracking.loggers import CsvRun, WandbRun
from cmi_bench.tracking.training import TrainingDescription


class LoggerTraining:
    """A training that one of Lightning's loggers records; a `TrainingTracker`."""

    def __init__(self, settings: TrackingConfig, description: TrainingDescription, folder: Path) -> None:
        """Take note of what will be recorded.

        Args:
            settings: Where to; with a `folder`.
            description: What is trained, on what.
            folder: The training's; what it is recorded as stays there, so that it goes on when the training is resumed.
        """
        self.settings = settings
        self.description = description
        self.folder = folder
        self.run = (WandbRun if settings.kind is TrackingKind.wandb else CsvRun)(settings, description.run)

    def start(self) -> None:
        """Open the record; does nothing where it is open."""
        self.run.start()

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Record points of curves."""
        self.run.log_metrics(values, step)

    def checkpoint(self, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        """Record how good a checkpoint is."""
        self.run.log_metrics(metrics, step)

    def member(self, seed: int, folder: Path) -> "LoggerTraining":
        """Return what records one of several trainings, in a group of them."""
        return LoggerTraining(self.settings, self.description.of_seed(seed, None), folder)

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """End the record, if it was started."""
        self.run.log_files(files)
        self.run.close(status)
