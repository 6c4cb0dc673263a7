"""A sweep in MLflow: one run above those of its jobs."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cmi_bench.tracking.describe import JOB_TAG, PARENT_TAG
from cmi_bench.tracking.mlflow_run import MLflowRun

if TYPE_CHECKING:
    from mlflow.entities import Run

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
