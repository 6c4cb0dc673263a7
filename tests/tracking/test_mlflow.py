"""A run in MLflow, on a real SQLite store, and on servers that hang, fail and refuse."""

import json
import platform
import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing

import pytest
from loopback import hanging_server, on_loopback
from mlflow import MlflowClient
from recorded_runs import DESCRIPTION, outcome, recorded_run
from werkzeug import Response

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.mlflow import PROCESS_TAG, MLflowRun
from cmi_bench.utils.distributed import this_process


def warnings_of(caplog):
    found = [one for one in caplog.records if one.levelname == "WARNING" and one.name == "cmi_bench.tracking.sink"]
    return [one.getMessage() for one in found]


def test_a_server_that_never_answers_costs_one_bounded_wait(caplog, tmp_path):
    with hanging_server() as uri, recorded_run(TrackingConfig("there", uri=uri, timeout=0.2)) as run:
        run.record(outcome(files=[tmp_path]))
    (warning,) = warnings_of(caplog)
    assert f"opening the store failed ({uri}: no answer within 0.2 s). The run goes on" in warning


class Store:
    """Answers as an MLflow server does while it opens a run, then fails or hangs."""

    def __init__(self, then):
        self.then, self.asked, self.ended = then, [], threading.Event()

    def __call__(self, request):
        path = request.path.rpartition("2.0/mlflow/")[2]
        self.asked.append(path)
        answers = {
            "experiments/get-by-name": {"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}},
            "runs/create": {"run": {"info": {"run_id": "f" * 32, "run_uuid": "f" * 32}, "data": {}}},
        }
        if path in answers:
            return Response(json.dumps(answers[path]), content_type="application/json")
        if self.then == "hang":
            self.ended.wait(20)
        return Response('{"error_code": "INTERNAL_ERROR", "message": "disk full"}', status=400)


def test_a_server_that_hangs_later_is_left_alone(caplog, tmp_path):
    store = Store("hang")
    (tmp_path / "file").touch()
    with on_loopback(store) as uri, recorded_run(TrackingConfig("there", uri=uri, timeout=1.0)) as run:
        for _ in range(3):
            run.record(outcome(files=[tmp_path / "file"]))
        store.ended.set()
    assert store.asked == ["experiments/get-by-name", "runs/create", "runs/log-batch"]
    late, gap = warnings_of(caplog)
    assert "recording params failed" in late
    assert "no answer within 1 s" in late
    assert gap == f"MLflow: nothing more of this run is recorded in {uri}."


def test_a_server_that_keeps_failing_is_told_only_how_the_run_ended(caplog):
    store = Store("fail")
    with on_loopback(store) as uri, recorded_run(TrackingConfig("there", uri=uri)) as run:
        for _ in range(5):
            run.log_metrics({"a": 1.0})
    assert store.asked[2:] == ["runs/log-batch", "runs/search", "runs/log-batch", "runs/update"]
    assert [warning.endswith("is recorded in " + uri + ".") for warning in warnings_of(caplog)] == [False] * 3 + [
        True,
        False,
    ]


@pytest.mark.parametrize("server", ["closed", "hangs", "fails"])
def test_a_password_is_neither_printed_nor_logged(server, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    caplog.set_level("DEBUG")
    with ExitStack() as stack:
        uri = {
            "closed": lambda: "http://127.0.0.1:9",
            "hangs": lambda: stack.enter_context(hanging_server()),
            "fails": lambda: stack.enter_context(on_loopback(lambda request: Response(request.url, status=500))),
        }[server]()
        named = uri.replace("//", "//somebody:SECRET%40x@")
        with recorded_run(TrackingConfig("there", uri=named, timeout=2.0 if server == "fails" else 0.5)) as run:
            run.record(outcome())
    assert "SECRET" not in caplog.text
    (warning,) = warnings_of(caplog)
    assert "opening the store failed" in warning
    assert "//***@127.0.0.1" in warning


@pytest.mark.slow
def test_a_database_that_is_locked_for_a_while_loses_what_was_sent_and_no_more(caplog, settings, tmp_path):
    with recorded_run(settings) as run:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            run.log_metrics({"lost": 1.0})
        run.log_metrics({"kept": 2.0})
    (warning,) = warnings_of(caplog)
    assert "database is locked" in warning
    recorded = MlflowClient(settings.uri).get_run(run.run_id)
    assert (recorded.info.status, recorded.data.metrics) == ("FINISHED", {"kept": 2.0})


def test_runs_whose_process_was_killed_are_closed_by_the_next_run(settings):
    running = []
    for process in (this_process(), this_process().replace(platform.node(), "elsewhere"), ended_process(), ""):
        run = MLflowRun(settings, DESCRIPTION)
        run.start()
        run.client.set_tag(run.run_id, PROCESS_TAG, process)
        running.append(run)
    with recorded_run(settings) as run:
        statuses = [run.client.get_run(one.run_id).info.status for one in running]
    assert statuses == ["RUNNING", "RUNNING", "KILLED", "RUNNING"]
    assert run.client.get_run(run.run_id).info.status == "FINISHED"


def ended_process():
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(this_process).result()
