"""One run in MLflow, as a sink: whatever goes wrong with it is a warning, never a lost score."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
