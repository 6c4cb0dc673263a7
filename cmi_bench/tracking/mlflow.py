"""Runs in MLflow, as a sink: files are written first, and whatever goes wrong here is a warning, never a lost score.

Importing this module does not import MLflow, which takes seconds; opening a store does.
"""

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from cmi_bench.config import Config, TrackingConfig
from cmi_bench.models.hub import checkpoint_label
from cmi_bench.tracking.sweep_plan import JOB_TAG, PARENT_TAG, SweepPlace

if TYPE_CHECKING:
    from typing import Self

    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunDescription:
    """What identifies a run in the MLflow UI, known before it starts."""

    name: str
    params: Mapping[str, str]
    """Few and flat: MLflow shows them as columns."""
    tags: Mapping[str, str]


def describe_run(config: Config, metadata: Mapping[str, Any], place: SweepPlace | None = None) -> RunDescription:
    """Return the few params and the tags by which runs are told apart and filtered.

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


def final_metrics(metadata: Mapping[str, Any], agreement: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a finished run.

    Args:
        metadata: As written to `metadata.json` at the end, with `counts`.
        agreement: The defined metrics of the summary, by name: "PAM/musicality/SRCC".
    """
    counts = metadata["counts"]
    return {**agreement, "n_failed": counts["failed"], "clips_scored": counts["scored"]}


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


class MLflowRun:
    """A run that is opened with `start` and closed as FINISHED, FAILED or KILLED.

    Use it as a context manager around all that belongs to the run.
    """

    def __init__(self, settings: TrackingConfig, description: RunDescription) -> None:
        self.settings = settings
        self.description = description
        self.client: MlflowClient | None = None
        self.run_id = ""
        self.experiment_id = ""
        self.started = False

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

            client, self.experiment_id = open_experiment(self.settings)
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

    def record(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """Record how the run ended; it is started first if nothing has done so yet."""
        self.start()
        self.log_metrics(metrics)
        self.log_files(files)

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


NOTE_TAG = "mlflow.note.content"
"""What the UI shows as a run's description; Markdown."""
ERROR_TAG = "error"
MAX_TAG = 5000
"""Characters of a tag, as MLflow's servers allow."""
MAX_METRICS = 1000
"""Metrics that a server takes at once."""


class ChildEnd(NamedTuple):
    """How a job of a sweep ended, for MLflow."""

    number: int
    name: str
    status: str
    """"FINISHED", "FAILED" or "KILLED"."""
    message: str
    """Why it failed; empty otherwise."""
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class SeriesPoint(NamedTuple):
    """One value of a metric along the sweep."""

    metric: str
    step: int
    value: float
    seconds: float
    """When it was measured, since 1970: a value that is sent twice is kept once."""


class MLflowSweep(MLflowRun):
    """The run above those of a sweep's jobs."""

    def end_children(self, ends: Sequence[ChildEnd]) -> None:
        """Leave no job without a run, and none of the runs RUNNING."""
        if self.client is None:
            return
        with self.sink("closing the jobs' runs"):
            runs_of: defaultdict[str, list[Run]] = defaultdict(list)
            for run in self._children():
                runs_of[run.data.tags.get(JOB_TAG, "")].append(run)
            for end in ends:
                self._end(end, runs_of[str(end.number)])

    def _end(self, end: ChildEnd, runs: Sequence["Run"]) -> None:
        assert self.client is not None
        for run in runs:
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")
        if not runs:
            runs = [self._late_child(end)]
        if end.message:  # of several attempts, the newest
            self.client.set_tag(runs[0].info.run_id, ERROR_TAG, end.message[:MAX_TAG])
            self.client.set_tag(runs[0].info.run_id, NOTE_TAG, f"```\n{end.message[:MAX_TAG]}\n```")

    def _late_child(self, end: ChildEnd) -> "Run":
        """Make the run of a job that failed before it had one, or was recorded elsewhere."""
        from mlflow.entities import Metric, Param

        assert self.client is not None
        tags = {**end.tags, PARENT_TAG: self.run_id, JOB_TAG: str(end.number)}
        run = self.client.create_run(self.experiment_id, run_name=end.name, tags=tags)
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, 0) for key, value in end.metrics.items()]
        params = [Param(key, value) for key, value in end.params.items()]
        self.client.log_batch(run.info.run_id, metrics=metrics, params=params)
        self.client.set_terminated(run.info.run_id, end.status)
        return run

    def log_series(self, points: Sequence[SeriesPoint]) -> None:
        """Record metrics along the sweep: MLflow's own charts draw them by step."""
        if self.client is None:
            return
        from mlflow.entities import Metric

        metrics = [Metric(one.metric, one.value, int(one.seconds * 1000), one.step) for one in points]
        with self.sink("recording metrics"):
            for start in range(0, len(metrics), MAX_METRICS):
                self.client.log_batch(self.run_id, metrics=metrics[start : start + MAX_METRICS])

    def describe(self, markdown: str, files: Sequence[Path]) -> None:
        """Show a text on the run's page, and keep files with it."""
        if self.client is None:
            return
        with self.sink("describing the sweep"):
            self.client.set_tag(self.run_id, NOTE_TAG, markdown[:MAX_TAG])
        self.log_files(files)

    def _children(self) -> Iterator["Run"]:
        assert self.client is not None
        token: Any = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                filter_string=f"tags.`{PARENT_TAG}` = '{self.run_id}'",
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return
