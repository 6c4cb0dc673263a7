"""Runs in MLflow, as a sink: files are written first, and whatever goes wrong here is a warning, never a lost score.

Importing this module does not import MLflow, which takes seconds; opening a store does.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.curves import CurvePoint
from cmi_bench.tracking.description import RunDescription
from cmi_bench.tracking.mlflow_ui import how_to_look
from cmi_bench.tracking.scored_data import recorded_datasets
from cmi_bench.tracking.sink import Sink
from cmi_bench.tracking.sweep_plan import PARENT_TAG
from cmi_bench.tracking.tracker import RunOutcome
from cmi_bench.utils.command import without_collection
from cmi_bench.utils.distributed import has_ended, this_process

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

log = logging.getLogger(__name__)

PROCESS_TAG = "process"
"""Which process a run belongs to: number, start and host."""
MAX_METRICS = 1000
"""Metrics that a server takes at once."""
MAX_TAG = 5000
"""Characters of a tag, as MLflow's servers allow."""
TABLE_FILE = "rows.json"
"""The scores row by row, which MLflow shows as a table and compares between runs."""
Send = Callable[["MlflowClient"], object]
"""Tells the store something."""


class MLflowRun:
    """A run in an MLflow store; a `Tracker`."""

    def __init__(self, settings: TrackingConfig, description: RunDescription) -> None:
        self.settings = settings
        self.description = description
        self.sink = Sink("MLflow", settings.uri or "", settings.timeout)
        self.client: MlflowClient | None = None
        """None before the run is open."""
        self.run_id = ""
        self.experiment_id = ""
        self.started = False
        self.is_earlier = False
        """Whether it goes on with a run of before."""

    def start(self, earlier: str | None = None) -> None:
        """Open the MLflow run with its params and tags, unless it is open already or failed to open.

        Args:
            earlier: The id of a run to go on with, if the store has it.
        """
        if self.settings.uri is None or self.started:
            return
        self.started = True
        # The seconds that these imports take are not the store's.
        with without_collection():
            from mlflow.entities import Param

            from cmi_bench.tracking.mlflow_store import Opened, open_run

        own = {PROCESS_TAG: this_process()}

        def opened() -> Opened:
            return open_run(self.settings, self.description.name, {**self.description.tags, **own}, earlier=earlier)

        # One process makes a new SQLite file, which takes many seconds where processors are few, while others wait.
        patience = 3 if self.settings.uri.startswith("sqlite:") else 1
        found = self.sink.call("opening the store", opened, seconds=patience * self.settings.timeout)
        if found is None:
            return
        self.sink.is_open = True
        self.client, self.experiment_id, self.run_id = found.client, found.experiment_id, found.run_id
        self.is_earlier = found.is_earlier
        if found.is_earlier:
            self.send("recording the process", lambda client: client.set_tag(self.run_id, PROCESS_TAG, this_process()))
        else:
            params = [Param(key, value) for key, value in self.description.params.items()]
            self.send("recording params", lambda client: client.log_batch(self.run_id, params=params))
        self.send("closing runs whose process was killed", self._end_killed)

    def _end_killed(self, client: "MlflowClient") -> None:
        """Mark what a process of this machine left RUNNING when it was killed: `kill -9` leaves no time for that."""
        for run in client.search_runs([self.experiment_id], filter_string="attributes.status = 'RUNNING'"):
            if run.info.run_id != self.run_id and has_ended(run.data.tags.get(PROCESS_TAG, "")):
                client.set_terminated(run.info.run_id, "KILLED")

    def progress(self, clips: int) -> None:
        """Record how many clips are scored by now."""
        self.log_metrics({"run/clips done": clips})

    def record(self, outcome: RunOutcome) -> None:
        """Record what the run came to; the run is started first if nothing has done so yet."""
        self.start()
        if self.client is None:
            return
        from mlflow.entities import LoggedModelInput

        from cmi_bench.tracking.mlflow_models import dataset_inputs, metrics_of

        model_id, datasets = self._model_id(), recorded_datasets(outcome.metadata)
        models = [LoggedModelInput(model_id)] if model_id is not None else None
        config = outcome.metadata["config"]["data"]
        inputs = dataset_inputs(datasets.values(), source=config["jsonl"], split=config["split"])
        self.send("recording the datasets", lambda client: client.log_inputs(self.run_id, inputs, models))
        now, step = int(time.time() * 1000), self.description.step or 0
        self.send_metrics(metrics_of(outcome.metrics, datasets, model_id=model_id, step=step, timestamp=now))
        for name, text in outcome.tags.items():
            self.send("recording a tag", self._set_tag(name, text))
        table = outcome.row_table
        self.send("recording the rows", lambda client: client.log_table(self.run_id, table, TABLE_FILE))
        self.log_files(outcome.files)
        if PARENT_TAG not in self.description.tags:  # a sweep says it once
            self.tell_where()

    def tell_where(self) -> None:
        """Log where the run can be looked at, if it is recorded."""
        if self.client is not None and not self.sink.is_given_up:
            log.info("MLflow: %s", how_to_look(self.settings.uri or "", self.experiment_id))

    def _model_id(self) -> str | None:
        """Return the id of the MLflow model that stands for the run's weights; None where there is none."""
        client, model = self.client, self.description.model
        if client is None or model is None:
            return None
        from cmi_bench.tracking.mlflow_models import model_of

        def found() -> str:
            return model_of(client, self.experiment_id, model, run_id=self.run_id, settings=self.settings)

        return self.sink.call("recording the model", found)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record metrics at the run's step; names may hold letters, digits and `_ / . : -` and spaces."""
        if self.client is None:
            return
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), self.description.step or 0
        self.send_metrics([Metric(key, value, now, step) for key, value in metrics.items()])

    def log_points(self, points: Sequence[CurvePoint]) -> None:
        """Record metrics along a sweep or a training: MLflow's own charts draw them by step."""
        if self.client is None:
            return
        from mlflow.entities import Metric

        self.send_metrics([Metric(one.metric, one.value, one.timestamp, one.step) for one in points])

    def send_metrics(self, metrics: "Sequence[Metric]") -> None:
        """Record metrics, as many at once as a server takes."""
        for start in range(0, len(metrics), MAX_METRICS):
            self.send("recording metrics", self._log(metrics[start : start + MAX_METRICS]))

    def _log(self, metrics: "Sequence[Metric]") -> Send:
        return lambda client: client.log_batch(self.run_id, metrics=metrics)

    def log_files(self, paths: Iterable[Path]) -> None:
        """Record files of the run's folder as artifacts; a folder among them with all it holds, under its name."""
        for path in paths:
            self.send(f"recording {path.name}", self._log_folder(path) if path.is_dir() else self._log_file(path))

    def _set_tag(self, name: str, text: str) -> Send:
        return lambda client: client.set_tag(self.run_id, name, text[:MAX_TAG])

    def _log_file(self, path: Path) -> Send:
        return lambda client: client.log_artifact(self.run_id, str(path))

    def _log_folder(self, path: Path) -> Send:
        return lambda client: client.log_artifacts(self.run_id, str(path), path.name)

    def close(self, status: str) -> None:
        """End the run; `status` is "FINISHED", "FAILED" or "KILLED"."""
        # A run that is left RUNNING misleads.
        self.send("closing the run", lambda client: client.set_terminated(self.run_id, status), in_any_case=True)

    def send(self, doing: str, send: Send, *, in_any_case: bool = False) -> None:
        """Tell the store something, if the run is open and the store was not found to fail."""
        if (client := self.client) is not None:
            self.sink.call(doing, lambda: send(client), in_any_case=in_any_case)
