"""A training in MLflow: curves by step, its checkpoints as models, and the rows that it learns from as datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.curves import Curves
from cmi_bench.tracking.description import ScoredModel
from cmi_bench.tracking.metrics import VALIDATION
from cmi_bench.tracking.mlflow import MLflowRun
from cmi_bench.tracking.training import SET_ASIDE, TrainingDescription
from cmi_bench.tracking.training_record import TrainingRecord, read_training_record, write_training_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric


DESCRIBE_SECONDS = 600.0
"""How long it may take to load a checkpoint and to digest its weights, which is no fault of the store."""


class MLflowTraining:
    """A training in an MLflow store; a `TrainingTracker`."""

    def __init__(self, settings: TrackingConfig, description: TrainingDescription, folder: Path) -> None:
        """Take note of what will be recorded.

        Args:
            settings: Where to; nowhere without a `uri`.
            description: What is trained, on what.
            folder: The training's; the id of its MLflow run is kept there.
        """
        self.settings = settings
        self.description = description
        self.folder = folder
        self.run = MLflowRun(settings, description.run)
        self._curves = Curves(self.run.log_points, self._earlier_points)

    def start(self) -> None:
        """Open the MLflow run, or that of before the training was resumed; does nothing where it is open."""
        if self.run.started:
            return
        earlier = read_training_record(self.folder, self.settings.kind)
        self.run.start(earlier.name if earlier else None)
        if self.run.client is not None:
            self.run.sink.call("keeping the run's id", self._keep_id)
            self._record_datasets()

    def _keep_id(self) -> None:
        write_training_record(TrainingRecord(self.settings.kind, self.run.run_id), self.folder)

    def _record_datasets(self) -> None:
        from cmi_bench.tracking.mlflow_models import dataset_inputs

        inputs = [
            one
            for context, datasets in self.description.datasets.items()
            for one in dataset_inputs(datasets, source=self.description.source, split=context)
        ]
        if inputs:
            self.run.send("recording the datasets", lambda client: client.log_inputs(self.run.run_id, inputs))

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Record points of curves; they are sent together every few seconds."""
        if self.run.client is not None:
            self._curves.add(step, values)

    def _earlier_points(self, name: str) -> dict[int, int]:
        client = self.run.client
        if client is None or not self.run.is_earlier:
            return {}

        def fetched() -> dict[int, int]:
            return {point.step: point.timestamp for point in client.get_metric_history(self.run.run_id, name)}

        return self.run.sink.call("looking at a curve", fetched) or {}

    def checkpoint(self, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        """Record a checkpoint as the model of its weights and settings, which later runs that score with it find."""
        if self.run.client is None:
            return
        self.curves(step, metrics)
        self._curves.send()
        describe = self.description.describe_checkpoint
        model = self.run.sink.call("describing a checkpoint", lambda: describe(folder), seconds=DESCRIBE_SECONDS)
        if model is None:
            return
        model_id = self.run.sink.call("recording a checkpoint", lambda: self._model_id(step, model))
        if model_id is not None:  # and the run is open
            self.run.send_metrics([self._of_model(name, step, model_id, value) for name, value in metrics.items()])

    def _model_id(self, step: int, model: ScoredModel) -> str | None:
        """Return the id of a checkpoint's MLflow model, an output of the run; None where nothing is recorded."""
        if (client := self.run.client) is None:
            return None
        from mlflow.entities import LoggedModelOutput

        from cmi_bench.tracking.mlflow_models import model_of

        model_id = model_of(client, self.run.experiment_id, model, run_id=self.run.run_id, settings=self.settings)
        outputs = client.get_run(self.run.run_id).outputs
        if all(one.model_id != model_id for one in (outputs.model_outputs if outputs else ())):
            client.log_outputs(self.run.run_id, [LoggedModelOutput(model_id, step)])
        return model_id

    def _of_model(self, name: str, step: int, model_id: str, value: float) -> "Metric":
        """Return a point of a curve as one that its model has too; of the same time, MLflow keeps it once."""
        from mlflow.entities import Metric

        from cmi_bench.tracking.mlflow_models import DIGEST_LENGTH

        timestamp = self._curves.recorded_at(name, step)
        for dataset in self.description.datasets.get(SET_ASIDE, ()):
            if name.startswith(f"{VALIDATION}/{dataset.name} "):
                digest = dataset.digest[:DIGEST_LENGTH]
                return Metric(name, value, timestamp, step, model_id, dataset_name=dataset.name, dataset_digest=digest)
        return Metric(name, value, timestamp, step, model_id)

    def member(self, seed: int, folder: Path) -> "MLflowTraining":
        """Return what records one of several trainings: its MLflow run stands under this one, if that is open."""
        description = self.description.of_seed(seed, self.run.run_id or None)
        return MLflowTraining(self.settings, description, folder)

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """End the MLflow run, if it was started, after what is left to tell.

        Models of checkpoints that were replaced by better or later ones are deleted, unless some run scored with them.
        """
        self._curves.send()
        self.run.log_files(files)
        self.run.send("tidying up checkpoints", self._drop_replaced)
        self.run.tell_where()
        self.run.close(status)

    def _drop_replaced(self, client: "MlflowClient") -> None:
        from cmi_bench.tracking.mlflow_models import drop_replaced

        drop_replaced(client, self.run.experiment_id, self.run.run_id)
