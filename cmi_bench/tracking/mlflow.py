"""Runs in MLflow, as a sink: files are written first, and whatever goes wrong here is a warning, never a lost score.

Importing this module does not import MLflow, which takes seconds; opening a store does.
"""

import logging
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cmi_bench.config import Config, TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.models.checkpoint_names import checkpoint_label
from cmi_bench.tracking.sweep_plan import JOB_TAG, PARENT_TAG, SweepPlace
from cmi_bench.utils.distributed import has_ended, this_process
from cmi_bench.utils.files import hide_credentials
from cmi_bench.utils.waiting import within

if TYPE_CHECKING:
    from typing import Self

    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

log = logging.getLogger(__name__)

T = TypeVar("T")


NOTE_TAG = "mlflow.note.content"
"""What the UI shows as a run's description; Markdown."""


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
        "cluster": config.metrics.cluster.value,
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
        NOTE_TAG: config.data.note or None,
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


PROCESS_TAG = "process"
"""Which process a run belongs to: number, start and host."""
FAILURES_IN_A_ROW = 3
"""After so many calls that failed one after the other, nothing more is sent but how the run ended."""


class MLflowRun:
    """A run that is opened with `start` and closed as FINISHED, FAILED or KILLED.

    Use it as a context manager around all that belongs to the run. No call to the store takes longer than
    `tracking.timeout`, and a store that once took longer is left alone.
    """

    def __init__(self, settings: TrackingConfig, description: RunDescription) -> None:
        self.settings = settings
        self.description = description
        self.client: MlflowClient | None = None
        """None before the run is open, and after the store was given up."""
        self.run_id = ""
        self.experiment_id = ""
        self.started = False
        self._failures = 0

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
        # The seconds that these imports take are not the store's.
        from mlflow.entities import Param, RunTag

        from cmi_bench.tracking.mlflow_store import Opened, open_run

        def opened() -> Opened:
            return open_run(self.settings, self.description.name, earlier=earlier)

        # One process makes a new SQLite file, which takes many seconds where processors are few, while others wait.
        patience = 3 if self.settings.uri.startswith("sqlite:") else 1
        found = self._call("opening the store", opened, seconds=patience * self.settings.timeout)
        if found is None:
            return
        self.client, self.experiment_id, self.run_id = found.client, found.experiment_id, found.run_id
        if not found.is_earlier:
            params = [Param(key, value) for key, value in self.description.params.items()]
            own = {PROCESS_TAG: this_process()}
            tags = [RunTag(key, value) for key, value in {**self.description.tags, **own}.items()]
            self._send(
                "recording params and tags", lambda client: client.log_batch(self.run_id, params=params, tags=tags)
            )
        else:
            self._send("recording the process", lambda client: client.set_tag(self.run_id, PROCESS_TAG, this_process()))
        self._send("closing runs whose process was killed", self._end_killed)

    def _end_killed(self, client: "MlflowClient") -> None:
        """Mark what a process of this machine left RUNNING when it was killed: `kill -9` leaves no time for that."""
        for run in client.search_runs([self.experiment_id], filter_string="attributes.status = 'RUNNING'"):
            if run.info.run_id != self.run_id and has_ended(run.data.tags.get(PROCESS_TAG, "")):
                client.set_terminated(run.info.run_id, "KILLED")

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
        sent = [Metric(key, value, now, 0) for key, value in metrics.items()]
        self._send("recording metrics", _log_metrics(self.run_id, sent))

    def log_files(self, paths: Sequence[Path]) -> None:
        """Record files of the run's folder as artifacts; a folder among them with all it holds, under its name."""
        for path in paths:
            if path.is_dir():
                self._send(f"recording {path.name}", _log_folder(self.run_id, path))
            else:
                self._send(f"recording {path.name}", _log_file(self.run_id, path))

    def close(self, status: str) -> None:
        """End the run; `status` is "FINISHED", "FAILED" or "KILLED"."""
        self._failures = 0  # a run that is left RUNNING misleads: this is tried whatever failed before
        self._send("closing the run", lambda client: client.set_terminated(self.run_id, status))

    def _send(self, doing: str, send: "Callable[[MlflowClient], None]") -> None:
        """Tell the store something, if the run is open and the store was not found to fail."""
        if (client := self.client) is not None and self._failures < FAILURES_IN_A_ROW:
            self._call(doing, lambda: send(client))

    def _call(self, doing: str, call: Callable[[], T], *, seconds: float | None = None) -> T | None:
        """Return what a call to the store returns; None, with a warning, where it fails or is late."""
        try:
            answer = within(seconds or self.settings.timeout, call)
        except TimeoutError as error:
            self._warn(doing, f"{self.shown_uri}: {error}")
            self._warn_of_gap()
            self.client = None
        except Exception as error:  # MLflow, its store and the network may fail in any way; scores are safe on disk
            self._warn(doing, _reason(error))
            log.debug("MLflow: %s failed:\n%s", doing, self._hidden(traceback.format_exc()))
            self._failures += 1
            if self._failures == FAILURES_IN_A_ROW:
                self._warn_of_gap()
        else:
            self._failures = 0
            return answer
        return None

    def _warn(self, doing: str, reason: str) -> None:
        text = self._hidden(reason)
        log.warning("MLflow: %s failed (%s). The run goes on; its files are complete.", doing, text)

    def _warn_of_gap(self) -> None:
        if self.client is not None:
            log.warning("MLflow: nothing more of this run is recorded in %s.", self.shown_uri)

    @property
    def shown_uri(self) -> str:
        """The store's address without user and password."""
        return self._hidden(self.settings.uri or "")

    def _hidden(self, text: str) -> str:
        return hide_credentials(text, self.settings.uri)


def _log_file(run_id: str, path: Path) -> "Callable[[MlflowClient], None]":
    return lambda client: client.log_artifact(run_id, str(path))


def _log_metrics(run_id: str, metrics: "Sequence[Metric]") -> "Callable[[MlflowClient], None]":
    return lambda client: client.log_batch(run_id, metrics=metrics)


def _log_folder(run_id: str, path: Path) -> "Callable[[MlflowClient], None]":
    return lambda client: client.log_artifacts(run_id, str(path), path.name)


def _reason(error: Exception) -> str:
    """Return the first line of an error, with the hint of those that have one."""
    if isinstance(error, UserError):
        return f"{error.what} {error.hint}".rstrip(" .")
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:300]}"


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
        runs_of: defaultdict[str, list[Run]] = defaultdict(list)
        client = self.client
        for run in self._call("listing the jobs' runs", lambda: list(self._children(client))) or ():
            runs_of[run.data.tags.get(JOB_TAG, "")].append(run)
        for end in ends:
            self._send("closing a job's run", self._ending(end, runs_of[str(end.number)]))

    def _ending(self, end: ChildEnd, runs: Sequence["Run"]) -> "Callable[[MlflowClient], None]":
        return lambda client: self._end(client, end, runs)

    def _end(self, client: "MlflowClient", end: ChildEnd, runs: Sequence["Run"]) -> None:
        for run in runs:
            if run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
        if not runs:
            runs = [self._late_child(client, end)]
        if end.message:  # of several attempts, the newest
            client.set_tag(runs[0].info.run_id, ERROR_TAG, end.message[:MAX_TAG])
            client.set_tag(runs[0].info.run_id, NOTE_TAG, f"```\n{end.message[:MAX_TAG]}\n```")

    def _late_child(self, client: "MlflowClient", end: ChildEnd) -> "Run":
        """Make the run of a job that failed before it had one, or was recorded elsewhere."""
        from mlflow.entities import Metric, Param

        tags = {**end.tags, PARENT_TAG: self.run_id, JOB_TAG: str(end.number)}
        run = client.create_run(self.experiment_id, run_name=end.name, tags=tags)
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, 0) for key, value in end.metrics.items()]
        params = [Param(key, value) for key, value in end.params.items()]
        client.log_batch(run.info.run_id, metrics=metrics, params=params)
        client.set_terminated(run.info.run_id, end.status)
        return run

    def log_series(self, points: Sequence[SeriesPoint]) -> None:
        """Record metrics along the sweep: MLflow's own charts draw them by step."""
        if self.client is None:
            return
        from mlflow.entities import Metric

        metrics = [Metric(one.metric, one.value, int(one.seconds * 1000), one.step) for one in points]
        for start in range(0, len(metrics), MAX_METRICS):
            self._send("recording metrics", _log_metrics(self.run_id, metrics[start : start + MAX_METRICS]))

    def describe(self, markdown: str, files: Sequence[Path]) -> None:
        """Show a text on the run's page, and keep files with it."""
        note = markdown[:MAX_TAG]
        self._send("describing the sweep", lambda client: client.set_tag(self.run_id, NOTE_TAG, note))
        self.log_files(files)

    def _children(self, client: "MlflowClient") -> Iterator["Run"]:
        token: Any = None
        while True:
            page = client.search_runs(
                [self.experiment_id],
                filter_string=f"tags.`{PARENT_TAG}` = '{self.run_id}'",
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return
