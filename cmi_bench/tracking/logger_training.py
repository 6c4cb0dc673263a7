"""A training in Weights & Biases or in CSV files, as far as they have room for what MLflow has."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from cmi_bench.config import TrackingConfig, TrackingKind
from cmi_bench.tracking.curves import CurvePoint, Curves
from cmi_bench.tracking.loggers import CsvRun, WandbRun
from cmi_bench.tracking.training import TrainingDescription
from cmi_bench.tracking.training_record import TrainingRecord, read_training_record, write_training_record


class LoggerTraining:
    """A training that one of Lightning's loggers records; a `TrainingTracker`."""

    def __init__(self, settings: TrackingConfig, description: TrainingDescription, folder: Path) -> None:
        """Take note of what will be recorded.

        Args:
            settings: Where to; with a `folder`.
            description: What is trained, on what.
            folder: The training's; the name of its record is kept there.
        """
        self.settings = settings
        self.description = description
        self.folder = folder
        self.run = (WandbRun if settings.kind is TrackingKind.wandb else CsvRun)(settings, description.run)
        self._earlier = TrainingRecord(settings.kind, "")
        self._curves = Curves(self._send, self._earlier_points)
        self._last_steps: dict[str, int] = {}

    def start(self) -> None:
        """Open the record, or that of before the training was resumed; does nothing where it is open.

        That of several trainings in Weights & Biases is opened after theirs: one process has one open at a time.
        """
        if self.settings.kind is not TrackingKind.wandb or self.description.seeds == 1:
            self._open()

    def _open(self) -> None:
        if self.run.started:
            return
        self._earlier = read_training_record(self.folder, self.settings.kind) or self._earlier
        self._last_steps = dict(self._earlier.last_steps)
        self.run.start(self._earlier.name or None)
        self._keep()
        self.run.log_params(
            {
                f"{context} {one.name}": f"{one.rows} rows, digest {one.digest}"
                for context, datasets in self.description.datasets.items()
                for one in datasets
            }
        )

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Record points of curves; they are sent together every few seconds."""
        self._open()
        self._curves.add(step, values)

    def checkpoint(self, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        """Record where a checkpoint is, and how good it is."""
        self.curves(step, metrics)
        self._curves.send()
        self.run.log_checkpoint(step, folder, metrics)

    def member(self, seed: int, folder: Path) -> "LoggerTraining":
        """Return what records one of several trainings, in a group of them."""
        return LoggerTraining(self.settings, self.description.of_seed(seed, None), folder)

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """End the record, if it was started, after what is left to tell."""
        self._curves.send()
        self.run.log_files(files)
        self.run.close(status)

    def _send(self, points: Sequence[CurvePoint]) -> None:
        for step, together in groupby(sorted(points, key=attrgetter("step")), attrgetter("step")):
            self.run.log_metrics({one.metric: one.value for one in together}, step)
        self._last_steps |= {one.metric: one.step for one in points}
        self._keep()

    def _keep(self) -> None:
        if self.run.record_id:
            kept = TrainingRecord(self.settings.kind, self.run.record_id, self._last_steps)
            self.run.sink.call("keeping what was recorded", lambda: write_training_record(kept, self.folder))

    def _earlier_points(self, name: str) -> dict[int, int]:
        return dict.fromkeys(range(self._earlier.last_steps.get(name, -1) + 1), 0)
