"""A training in MLflow: curves by step, its checkpoints as models, and the rows that it is learnt from as datasets."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.mlflow import MLflowRun, SeriesPoint
from cmi_bench.tracking.record_id import read_record_id, write_record_id
from cmi_bench.tracking.training import TrainingDescription

SEND_SECONDS = 10.0
"""How often points of curves are sent: each call to a store takes some hundredths of a second."""


class MLflowTraining:
    """A training in an MLflow store; a `TrainingTracker`."""

    def __init__(self, settings: TrackingConfig, description: TrainingDescription, folder: Path) -> None:
        """Take note of what will be recorded.

        Args:
            settings: Where to; nowhere without a `uri`.
            description: What is trained, on what.
            folder: The training's; what it is recorded as stays there, so that it goes on when the training is resumed.
        """
        self.settings = settings
        self.description = description
        self.folder = folder
        self.run = MLflowRun(settings, description.run)
        self._waiting: list[SeriesPoint] = []
        self._sent = time.monotonic()

    def start(self) -> None:
        """Open the MLflow run, or that of before the training was resumed; does nothing where it is open."""
        if self.run.started:
            return
        self.run.start(read_record_id(self.folder, self.settings.kind))
        if self.run.client is not None:
            write_record_id(self.folder, self.settings.kind, self.run.run_id)
            self._record_datasets()

    def _record_datasets(self) -> None:
        from cmi_bench.tracking.mlflow_models import dataset_inputs

        of_context = self.description.datasets
        inputs = [
            one
            for context, datasets in of_context.items()
            for one in dataset_inputs(datasets, source=self.description.source, split=context)
        ]
        if inputs:
            self.run.send("recording the datasets", lambda client: client.log_inputs(self.run.run_id, inputs))

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Record points of curves; they are sent together every few seconds."""
        now = time.time()
        self._waiting += [SeriesPoint(name, step, value, now) for name, value in values.items()]
        if time.monotonic() - self._sent > SEND_SECONDS:
            self._send_curves()

    def _send_curves(self) -> None:
        self.run.log_series(self._waiting)
        self._waiting, self._sent = [], time.monotonic()

    def checkpoint(self, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        """Record a checkpoint as the model of its weights and settings, which later runs that score with it find."""
        self._send_curves()
        client = self.run.client
        if client is None:
            return
        from mlflow.entities import LoggedModelOutput, Metric

        from cmi_bench.tracking.mlflow_models import model_of

        def recorded() -> str:
            model = self.description.describe_checkpoint(folder)
            return model_of(client, self.run.experiment_id, model, run_id=self.run.run_id, settings=self.settings)

        model_id = self.run.sink.call("recording a checkpoint", recorded)
        if model_id is None:
            return
        output = LoggedModelOutput(model_id, step)
        self.run.send("recording a checkpoint", lambda client: client.log_outputs(self.run.run_id, [output]))
        now = int(time.time() * 1000)
        self.run.send_metrics([Metric(key, value, now, step, model_id=model_id) for key, value in metrics.items()])

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """End the MLflow run, if it was started, after what is left to tell."""
        self._send_curves()
        self.run.log_files(files)
        self.run.tell_where()
        self.run.close(status)
