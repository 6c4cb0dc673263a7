"""The MLflow run of a sweep, above those of its jobs."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cmi_bench.tracking.description import NOTE_TAG
from cmi_bench.tracking.mlflow import MAX_TAG, MLflowRun, Send
from cmi_bench.tracking.sweep_plan import JOB_TAG, PARENT_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ERROR_TAG = "error"


class ChildEnd(NamedTuple):
    """How a job of a sweep ended, for MLflow."""

    number: int
    name: str
    status: str
    """"FINISHED", "FAILED" or "KILLED"."""
    message: str
    """Why it failed; empty otherwise."""
    step: int
    """Training step of its checkpoint; 0 where there is none."""
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class MLflowSweep(MLflowRun):
    """The run above those of a sweep's jobs."""

    def end_children(self, ends: Sequence[ChildEnd]) -> None:
        """Leave no job without a run, and none of the runs RUNNING."""
        if self.client is None:
            return
        runs_of: defaultdict[str, list[Run]] = defaultdict(list)
        client = self.client
        for run in self.sink.call("listing the jobs' runs", lambda: list(self._children(client))) or ():
            runs_of[run.data.tags.get(JOB_TAG, "")].append(run)
        for end in ends:
            self.send("closing a job's run", self._ending(end, runs_of[str(end.number)]))

    def _ending(self, end: ChildEnd, runs: Sequence["Run"]) -> Send:
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
        metrics = [Metric(key, value, now, end.step) for key, value in end.metrics.items()]
        params = [Param(key, value) for key, value in end.params.items()]
        client.log_batch(run.info.run_id, metrics=metrics, params=params)
        client.set_terminated(run.info.run_id, end.status)
        return run

    def describe(self, markdown: str, files: Sequence[Path]) -> None:
        """Show a text on the run's page, and keep files with it."""
        note = markdown[:MAX_TAG]
        self.send("describing the sweep", lambda client: client.set_tag(self.run_id, NOTE_TAG, note))
        self.log_files(files)
        self.tell_where()

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
