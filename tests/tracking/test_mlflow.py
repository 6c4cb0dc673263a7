"""Runs in MLflow: what is shown of them, and a sweep's run above those of its jobs, in a real SQLite store."""

import json
import platform
import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from types import SimpleNamespace

import pytest
from loopback import hanging_server, on_loopback
from mlflow import MlflowClient
from werkzeug import Response

from cmi_bench.config import MetricSettings, Precision, TrackingConfig
from cmi_bench.tracking.mlflow import (
    PROCESS_TAG,
    ChildEnd,
    MLflowRun,
    MLflowSweep,
    RunDescription,
    SeriesPoint,
    describe_run,
    final_metrics,
    job_name,
    model_label,
)
from cmi_bench.tracking.sweep_plan import SweepPlace
from cmi_bench.utils.distributed import this_process

METADATA = {
    "model": {"name": "cmi_rm", "digest": "d1"},
    "git": {"commit": "abc", "dirty": False},
    "device": "cpu 1",
    "counts": {"failed": 2, "scored": 9},
}

DESCRIPTION = RunDescription("signal on mini", params={"model": "signal"}, tags={"git_commit": "abc"})


def config(**changes):
    # What a description reads of a configuration.
    return SimpleNamespace(
        **{
            "data": SimpleNamespace(name="mini", note="synthetic rows"),
            "subset": SimpleNamespace(name="pam"),
            "model": {"name": "cmi_rm", "checkpoint": "/runs/step_500"},
            "metrics": MetricSettings(),
            "precision": Precision["32"],
            "max_dur": 120.0,
            "batch_size": 8,
            "seed": 0,
            "limit": None,
        }
        | changes
    )


def test_a_run_is_told_by_few_flat_params_and_tags():
    description = describe_run(config(), METADATA)
    assert description.name == "cmi_rm on mini/pam"
    assert description.params["checkpoint"] == "step_500"
    assert (description.params["dataset"], description.params["max_dur"]) == ("mini/pam", "120.0")
    assert (description.params["protocol"], description.params["cluster"]) == ("strict", "prompt")
    assert not {"step", "limit"} & set(description.params)
    assert description.tags["checkpoint_digest"] == "d1"
    assert description.tags["mlflow.source.git.commit"] == description.tags["git_commit"] == "abc"
    assert description.tags["git_dirty"] == "False"
    assert description.tags["mlflow.note.content"] == "synthetic rows"


def test_a_job_of_a_sweep_stands_under_its_parent():
    place = SweepPlace("step_500", 500, 3, "f" * 32)
    description = describe_run(config(subset=SimpleNamespace(name="all")), METADATA, place)
    assert description.name == "cmi_rm step_500"
    assert (description.params["step"], description.params["dataset"]) == ("500", "mini")
    assert (description.tags["mlflow.parentRunId"], description.tags["sweep_job"]) == ("f" * 32, "3")
    assert SweepPlace("a", None, 0, None).tags == {}


def test_a_finished_run_has_its_agreement_and_its_counts():
    metrics = final_metrics(METADATA, {"PAM/musicality/SRCC": 0.5})
    assert metrics == {"PAM/musicality/SRCC": 0.5, "n_failed": 2, "clips_scored": 9}


@pytest.mark.parametrize(("label", "name"), [("cmi_rm step_5", "cmi_rm step_5"), ("step_5", "cmi_rm step_5")])
def test_a_job_has_the_models_name_once(label, name):
    assert job_name("cmi_rm", label) == name


def test_a_model_of_the_users_own_is_named_after_its_class():
    assert model_label({"name": "custom", "class_path": "mine.adapter:Model"}) == "Model"
    assert model_label({"name": "signal"}) == "signal"


NOTE = "mlflow.note.content"


def end(number, status, message="", **metrics):
    same = {"model": "m"}
    return ChildEnd(number, f"job {number}", status, message, params=same, tags=same, metrics=metrics)


def warnings_of(caplog):
    found = [one for one in caplog.records if one.levelname == "WARNING" and one.name == "cmi_bench.tracking.mlflow"]
    return [one.getMessage() for one in found]


def test_a_server_that_never_answers_costs_one_bounded_wait(caplog, tmp_path):
    with (
        hanging_server() as uri,
        MLflowRun(TrackingConfig("there", uri=uri, timeout=0.2), RunDescription("r", {}, {})) as run,
    ):
        run.start()
        run.record({"a": 1.0}, [tmp_path])
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
    with on_loopback(store) as uri, MLflowRun(TrackingConfig("there", uri=uri, timeout=1.0), DESCRIPTION) as run:
        run.start()
        for _ in range(3):
            run.record({"a": 1.0}, [tmp_path / "file"])
        store.ended.set()
    assert store.asked == ["experiments/get-by-name", "runs/create", "runs/log-batch"]
    late, gap = warnings_of(caplog)
    assert "recording params and tags failed" in late
    assert "no answer within 1 s" in late
    assert gap == f"MLflow: nothing more of this run is recorded in {uri}."


def test_a_server_that_keeps_failing_is_told_only_how_the_run_ended(caplog):
    store = Store("fail")
    with on_loopback(store) as uri, MLflowRun(TrackingConfig("there", uri=uri), DESCRIPTION) as run:
        run.start()
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
        with MLflowRun(
            TrackingConfig("there", uri=named, timeout=2.0 if server == "fails" else 0.5), DESCRIPTION
        ) as run:
            run.record({"a": 1.0}, [])
    assert "SECRET" not in caplog.text
    (warning,) = warnings_of(caplog)
    assert "opening the store failed" in warning
    assert "//***@127.0.0.1" in warning


@pytest.mark.slow
def test_a_database_that_is_locked_for_a_while_loses_what_was_sent_and_no_more(caplog, tmp_path):
    settings = TrackingConfig("here", uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=str(tmp_path / "artifacts"))
    with MLflowRun(settings, DESCRIPTION) as run:
        run.start()
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            run.log_metrics({"lost": 1.0})
        run.log_metrics({"kept": 2.0})
    (warning,) = warnings_of(caplog)
    assert "database is locked" in warning
    recorded = MlflowClient(settings.uri).get_run(run.run_id)
    assert (recorded.info.status, recorded.data.metrics) == ("FINISHED", {"kept": 2.0})


@pytest.mark.slow
def test_no_job_is_without_a_run_and_no_run_is_left_running(tmp_path):
    settings = TrackingConfig("here", uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=str(tmp_path / "artifacts"))
    description = RunDescription("a sweep", {}, {})
    with pytest.raises(KeyError), MLflowSweep(settings, description) as sweep:
        sweep.start()
        for number in (0, 1):
            place = SweepPlace(f"job {number}", None, number, sweep.run_id)
            child = MLflowRun(settings, RunDescription(place.label, {}, place.tags))
            child.start()
            if number == 0:
                child.close("FINISHED")
        ends = [
            end(0, "FINISHED"),
            end(1, "KILLED", "died"),
            end(2, "FAILED", "no weights"),
            end(3, "FINISHED", SRCC=1),
        ]
        points = [SeriesPoint("by_step/SRCC", step, step / 1000, 1e9 + step) for step in (500, 1000)]
        for _ in range(2):  # the same told twice is the same
            sweep.end_children(ends)
            sweep.log_series(points)
        raise KeyError
    client = MlflowClient(settings.uri)
    again = MLflowSweep(settings, description)
    again.start(earlier=sweep.run_id)
    assert again.run_id == sweep.run_id
    assert client.get_run(sweep.run_id).info.status == "RUNNING"
    again.close("FINISHED")
    runs = client.search_runs([sweep.experiment_id])
    children = {run.info.run_name: run for run in runs if run.info.run_id != sweep.run_id}
    assert {name: run.info.status for name, run in children.items()} == {
        "job 0": "FINISHED",
        "job 1": "KILLED",
        "job 2": "FAILED",
        "job 3": "FINISHED",
    }
    assert len(runs) == 5
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {sweep.run_id}
    assert children["job 2"].data.tags["error"] == "no weights"
    assert "no weights" in children["job 2"].data.tags[NOTE]
    assert children["job 3"].data.metrics == {"SRCC": 1.0}
    history = client.get_metric_history(sweep.run_id, "by_step/SRCC")
    assert [(one.step, one.value) for one in history] == [(500, 0.5), (1000, 1.0)]
    other = MLflowSweep(settings, description)
    other.start(earlier="0" * 32)  # of another store
    assert other.run_id not in ("", sweep.run_id)
    other.close("FINISHED")


def test_runs_whose_process_was_killed_are_closed_by_the_next_run(tmp_path):
    settings = TrackingConfig("here", uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=str(tmp_path / "artifacts"))
    running = []
    for process in (this_process(), this_process().replace(platform.node(), "elsewhere"), ended_process(), ""):
        run = MLflowRun(settings, DESCRIPTION)
        run.start()
        run.client.set_tag(run.run_id, PROCESS_TAG, process)
        running.append(run)
    with MLflowRun(settings, DESCRIPTION) as run:
        run.start()
        statuses = [run.client.get_run(one.run_id).info.status for one in running]
    assert statuses == ["RUNNING", "RUNNING", "KILLED", "RUNNING"]
    assert run.client.get_run(run.run_id).info.status == "FINISHED"


def ended_process():
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(this_process).result()
