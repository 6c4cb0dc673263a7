"""Open an MLflow store and experiment, safely when several processes do it at once.

Fetch what a run recorded in MLflow.

A sweep in MLflow: one run above those of its jobs.
"""

import logging
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cmi_bench.errors import UserError
from cmi_bench.tracking.mlflow import JOB_TAG, PARENT_TAG, MLflowRun
from cmi_bench.utils.files import without_credentials

if TYPE_CHECKING:
    from mlflow.entities import Run


SQLITE = "sqlite:///"

_MANNERS = {
    # It would try for many minutes to reach a server that is down; a benchmark does not wait for its sink.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # It would print addresses on stdout, where the results are.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def open_experiment(uri: str, name: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    """Return a client and the id of the experiment, which is made if it is not there.

    Args:
        uri: Tracking store; for SQLite an absolute `sqlite:////path/mlflow.db`.
        name: Experiment name.
        artifacts: Folder or URI for the artifacts of a new experiment; None leaves it to the server.
    """
    calm_mlflow()
    if not uri.startswith(SQLITE):
        return _open(uri, name, artifacts)
    # Processes that create the same SQLite file together crash in its migrations: one at a time.
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        return _open(uri, name, Path(artifacts).resolve().as_uri() if artifacts else None)


def reopen(client: MlflowClient, run_id: str) -> bool:
    """Set a run of before to RUNNING again; False if the store has no such run."""
    try:
        if client.get_run(run_id).info.lifecycle_stage != "active":
            return False
        client.update_run(run_id, status="RUNNING")
    except MlflowException:
        return False
    return True


def calm_mlflow() -> None:
    """Keep MLflow from waiting for long and from telling what nobody asked; call before a client is made."""
    for key, value in _MANNERS.items():
        os.environ.setdefault(key, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its database migrations are nobody's news


def _open(uri: str, name: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(name)
    if found is not None:
        return client, found.experiment_id
    try:
        return client, client.create_experiment(name, artifact_location=artifacts)
    except MlflowException:
        # Somebody else on the same server was quicker.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return client, found.experiment_id


RUN_ID = re.compile(r"[0-9a-f]{32}")
RESULTS, METADATA = "results.jsonl", "metadata.json"


def fetch_results(run_id: str, uri: str | None, folder: Path) -> Path:
    """Download a run's `results.jsonl`, and its `metadata.json` where it has one.

    Args:
        run_id: 32 hexadecimal digits.
        uri: Tracking store.
        folder: Where to; made if missing.

    Returns:
        The results file.

    Raises:
        UserError: There is no such store, run or artifact.
    """
    if uri is None:
        raise UserError(
            f"{run_id} looks like an MLflow run, and no store is named.",
            "Give tracking.uri=..., or the run's folder instead.",
        )
    shown = without_credentials(uri)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        raise UserError(f"There is no MLflow store at {shown}.", "Check tracking.uri.")
    calm_mlflow()
    try:
        client = MlflowClient(tracking_uri=uri)
        names = {artifact.path for artifact in client.list_artifacts(run_id)}
        if RESULTS not in names:
            raise UserError(
                f"The MLflow run {run_id} has no {RESULTS} among its artifacts.",
                "Was it finished? Its folder may have the file.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name in (RESULTS, METADATA):
            if name in names:
                client.download_artifacts(run_id, name, str(folder))
    except MlflowException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"MLflow run {run_id} at {shown}: {reason}", "Check the run id and tracking.uri.") from error
    return folder / RESULTS


NOTE_TAG = "mlflow.note.content"
"""What the UI shows as a run's description; Markdown."""
ERROR_TAG = "error"
MAX_TAG = 5000
"""Characters of a tag, as MLflow's servers allow."""


class ChildEnd(NamedTuple):
    """How a job ended, as MLflow is told."""

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
    """The parent run of a sweep."""

    def __enter__(self) -> "MLflowSweep":
        return self

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
            for start in range(0, len(metrics), 1000):  # as many as a server takes at once
                self.client.log_batch(self.run_id, metrics=metrics[start : start + 1000])

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
