"""One run in MLflow, as a sink: whatever goes wrong with it is a warning, never a lost score.

The Lightning callback that records a run in MLflow.

Tracking is a sink: files are written first, MLflow comes after, and whatever goes wrong with it is a
warning, never a lost score.

How a run appears in the MLflow UI: name, params, tags, metric names.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer

from cmi_bench.config import Config
from cmi_bench.models.hub import checkpoint_label

if TYPE_CHECKING:
    from mlflow import MlflowClient


log = logging.getLogger(__name__)


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


class MLflowRun:
    """A run that is opened with `start` and closed as FINISHED, FAILED or KILLED.

    Use it as a context manager around all that belongs to the run.
    """

    def __init__(self, settings: TrackingSettings, description: RunDescription) -> None:
        self.settings = settings
        self.description = description
        self.client: MlflowClient | None = None
        self.run_id = ""
        self.experiment_id = ""
        self.started = False

    def __enter__(self) -> "MLflowRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close("FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED")

    def start(self, earlier: str | None = None) -> None:
        """Open the MLflow run with its params and tags, unless it is open already or failed to open.

        Args:
            earlier: The id of a run to go on with, if the store has it.
        """
        if self.settings.uri is None or self.started:
            return
        self.started = True
        with self.sink("opening the store"):
            from mlflow.entities import Param, RunTag

            from cmi_bench.tracking.mlflow_store import open_experiment, reopen

            client, self.experiment_id = open_experiment(
                self.settings.uri, self.settings.experiment, self.settings.artifacts
            )
            if earlier is not None and reopen(client, earlier):
                self.client, self.run_id = client, earlier
                return
            run = client.create_run(self.experiment_id, run_name=self.description.name)
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
        with self.sink("recording metrics"):
            self.client.log_batch(self.run_id, metrics=[Metric(key, value, now, 0) for key, value in metrics.items()])

    def log_files(self, paths: Sequence[Path]) -> None:
        """Record files of the run's folder as artifacts; a folder among them with all it holds, under its name."""
        if self.client is None:
            return
        with self.sink("recording artifacts"):
            for path in paths:
                if path.is_dir():
                    self.client.log_artifacts(self.run_id, str(path), path.name)
                else:
                    self.client.log_artifact(self.run_id, str(path))

    def close(self, status: str) -> None:
        """End the run; `status` is "FINISHED", "FAILED" or "KILLED"."""
        if self.client is None:
            return
        with self.sink("closing the run"):
            self.client.set_terminated(self.run_id, status)

    @contextlib.contextmanager
    def sink(self, doing: str) -> Iterator[None]:
        """Turn whatever fails inside into a warning."""
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


PROGRESS_SECONDS = 15.0
"""How often the count of scored clips is sent while the run goes on."""


class MLflowCallback(MLflowRun, Callback):
    """Opens an MLflow run when prediction starts, follows it, and closes it as FINISHED or FAILED.

    Only rank 0 records. Use it as a context manager around the whole run, so that a failure in any
    part of it, not only in Lightning's loop, is recorded as such.
    """

    def __init__(self, settings: TrackingSettings, description: RunDescription) -> None:
        super().__init__(settings, description)
        self.done = 0
        self.last_sent = 0.0
        self.sent = False

    def __enter__(self) -> "MLflowCallback":
        return self

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        if trainer.is_global_zero:
            self.start()
        self.last_sent = time.monotonic()  # a short run has no progress to show

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        if self.sent:
            self.log_metrics({"items_done": self.done})

    def on_predict_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        items, _ = batch
        self.done += items * trainer.world_size
        if time.monotonic() - self.last_sent > PROGRESS_SECONDS:
            self.log_metrics({"items_done": self.done})
            self.last_sent, self.sent = time.monotonic(), True


PARENT_TAG, JOB_TAG = "mlflow.parentRunId", "sweep_job"
"""MLflow's own tag, by which its UI puts a run under another; and the job's number."""


class SweepPlace(NamedTuple):
    """A run's place in a sweep."""

    label: str
    """By what it differs from the sweep's other runs."""
    step: int | None
    """Training step of its checkpoint."""
    number: int
    parent_run: str | None
    """MLflow run of the sweep."""

    @property
    def tags(self) -> dict[str, str]:
        """What puts the run under the sweep's."""
        return {PARENT_TAG: self.parent_run, JOB_TAG: str(self.number)} if self.parent_run else {}


def describe_run(config: Config, metadata: Mapping[str, Any], place: SweepPlace | None = None) -> RunDescription:
    """Choose the few params and the tags by which runs are told apart and filtered.

    Args:
        config: The run's configuration.
        metadata: As written to `metadata.json`, with the keys `model`, `device` and `git`.
        place: Where the run stands in a sweep; None outside of one.
    """
    model, git = metadata["model"], metadata["git"]
    dataset = dataset_name(config)
    checkpoint = config.model.get("checkpoint")
    params = {
        "model": model["name"],
        "checkpoint": checkpoint_label(checkpoint) if checkpoint else None,
        "step": place.step if place else None,
        "dataset": dataset,
        "max_dur": config.max_dur,
        "batch_size": config.batch_size,
        "precision": config.precision.value,
        "protocol": config.metrics.protocol.value,
        "device": metadata["device"],
        "seed": config.seed,
        "limit": config.limit,
    }
    tags = {
        "model": model["name"],
        "dataset": dataset,
        "checkpoint": checkpoint,
        "checkpoint_digest": model["digest"],
        "git_commit": git["commit"],
        "git_dirty": git["dirty"],
        # MLflow's own tag, which its UI shows as the version of the source.
        "mlflow.source.git.commit": git["commit"],
    }
    return RunDescription(
        name=job_name(model["name"], place.label) if place else f"{model['name']} on {dataset}",
        params={key: str(value) for key, value in params.items() if value is not None},
        tags={key: str(value) for key, value in tags.items() if value is not None} | (place.tags if place else {}),
    )


def job_name(model: str, label: str) -> str:
    """Return a sweep's run by its model and what it differs in, the model once: "cmi_rm step_500"."""
    return label if label.split(" ", 1)[0] == model else f"{model} {label}"


def dataset_name(config: Config) -> str:
    """Return the rows' name, e.g. "mini" or "mini/pam"."""
    return config.data.name if config.subset.name == "all" else f"{config.data.name}/{config.subset.name}"


def model_label(spec: Mapping[str, Any]) -> str:
    """Return the name under which a model is listed: the class's for the user's own, else the configuration's."""
    path: str | None = spec.get("class_path")
    return path.rpartition(":")[2] if path else str(spec["name"])
