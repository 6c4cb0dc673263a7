"""A sweep's run above those of its jobs, in a real SQLite store."""

import pytest
from mlflow import MlflowClient

from cmi_bench.tracking.callback import TrackingCallback
from cmi_bench.tracking.description import RunDescription
from cmi_bench.tracking.mlflow import CurvePoint, MLflowRun
from cmi_bench.tracking.mlflow_sweep import ChildEnd, MLflowSweep
from cmi_bench.tracking.sweep_plan import SweepPlace

NOTE = "mlflow.note.content"


def end(number, status, message="", **metrics):
    same = {"model": "m"}
    return ChildEnd(number, f"job {number}", status, message, 500 * number, params=same, tags=same, metrics=metrics)


@pytest.mark.slow
def test_no_job_is_without_a_run_and_no_run_is_left_running(settings):
    description = RunDescription("a sweep", {}, {})
    sweep = MLflowSweep(settings, description)
    with pytest.raises(KeyError), TrackingCallback(sweep):
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
        points = [CurvePoint("PAM by step/SRCC", step, step / 1000, 1e9 + step) for step in (500, 1000)]
        for _ in range(2):  # the same told twice is the same
            sweep.end_children(ends)
            sweep.log_points(points)
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
    assert [one.step for one in client.get_metric_history(children["job 3"].info.run_id, "SRCC")] == [1500]
    history = client.get_metric_history(sweep.run_id, "PAM by step/SRCC")
    assert [(one.step, one.value) for one in history] == [(500, 0.5), (1000, 1.0)]
    other = MLflowSweep(settings, description)
    other.start(earlier="0" * 32)  # of another store
    assert other.run_id not in ("", sweep.run_id)
    other.close("FINISHED")
