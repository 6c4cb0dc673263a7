"""The Lightning callback that records a run in MLflow.

Tracking is a sink: files are written first, MLflow comes after, and whatever goes wrong with it is a
warning, never a lost score.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 15.0
"""How often the count of scored clips is sent while the run goes on."""


@dataclass(frozen=True)
class TrackingSettings:
    """Where a run is recorded."""

    uri: str | None
    """MLflow store or server; None records nothing."""
    experiment: str
    artifacts: str | None
    """Artifact location of a new experiment; None leaves it to the server."""


@dataclass(frozen=True)
class RunDescription:
    """What identifies a run in the MLflow UI, known before it starts."""

    name: str
    params: Mapping[str, str]
    """Few and flat: MLflow shows them as columns."""
    tags: Mapping[str, str]


class MLflowCallback(Callback):
    """Opens an MLflow run when prediction starts, follows it, and closes it as FINISHED or FAILED.

    Only rank 0 records. Use it as a context manager around the whole run, so that a failure in any
    part of it, not only in Lightning's loop, is recorded as such.
    """

    def __init__(self, settings: TrackingSettings, description: RunDescription) -> None:
        self.settings = settings
        self.description = description
        self.client: MlflowClient | None = None
        self.run_id = ""
        self.started = False
        self.done = 0
        self.last_sent = 0.0

    def __enter__(self) -> "MLflowCallback":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close("FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        if trainer.is_global_zero:
            self.start()

    def on_predict_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.done += outputs.items * trainer.world_size
        if time.monotonic() - self.last_sent > PROGRESS_SECONDS:
            self.log_metrics({"items_done": self.done})
            self.last_sent = time.monotonic()

    def start(self) -> None:
        """Open the MLflow run with its params and tags, unless it is open already or failed to open."""
        if self.settings.uri is None or self.started:
            return
        self.started = True
        with self._sink("opening the store"):
            from mlflow.entities import Param, RunTag

            from cmi_bench.tracking.mlflow_store import open_experiment

            client, experiment = open_experiment(self.settings.uri, self.settings.experiment, self.settings.artifacts)
            run = client.create_run(experiment, run_name=self.description.name)
            self.client, self.run_id = client, run.info.run_id
            client.log_batch(
                self.run_id,
                params=[Param(key, value) for key, value in self.description.params.items()],
                tags=[RunTag(key, value) for key, value in self.description.tags.items()],
            )

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record metrics; names may hold letters, digits and `_ / . : -` and spaces."""
        if self.client is None:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._sink("recording metrics"):
            self.client.log_batch(self.run_id, metrics=[Metric(key, value, now, 0) for key, value in metrics.items()])

    def log_files(self, paths: Sequence[Path]) -> None:
        """Record files of the run's folder as artifacts; a folder among them with all it holds, under its name."""
        if self.client is None:
            return
        with self._sink("recording artifacts"):
            for path in paths:
                if path.is_dir():
                    self.client.log_artifacts(self.run_id, str(path), path.name)
                else:
                    self.client.log_artifact(self.run_id, str(path))

    def _close(self, status: str) -> None:
        if self.client is None:
            return
        with self._sink("closing the run"):
            self.client.set_terminated(self.run_id, status)

    @contextlib.contextmanager
    def _sink(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # MLflow, its store and the network may fail in any way; scores are safe on disk
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning(
                "MLflow: %s failed (%s: %s). The run goes on; its files are complete.",
                doing,
                type(error).__name__,
                reason[:300],
            )
            log.debug("MLflow: %s failed", doing, exc_info=True)
