"""Against MLflow's real SQLite store."""

import subprocess
import sys
import textwrap

import pytest
from mlflow import MlflowClient

from cmi_bench.tracking.mlflow import MLflowCallback, RunDescription, TrackingSettings


@pytest.fixture
def settings(tmp_path):
    return TrackingSettings(f"sqlite:///{tmp_path}/mlflow.db", "experiment", str(tmp_path / "artifacts"))


DESCRIPTION = RunDescription("signal on mini", params={"model": "signal"}, tags={"git_commit": "abc"})


def only_run(settings):
    client = MlflowClient(settings.uri)
    experiment = client.get_experiment_by_name("experiment")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


@pytest.mark.slow
def test_a_run_ends_finished_with_its_params_metrics_and_artifacts(settings, tmp_path):
    (tmp_path / "results.jsonl").write_text("{}\n")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/a.png").write_bytes(b"")
    with MLflowCallback(settings, DESCRIPTION) as callback:
        callback.start()
        callback.log_metrics({"PAM/musicality/SRCC": 0.5, "PAM/musicality/K-Tau": 0.25})
        callback.log_files([tmp_path / "results.jsonl", tmp_path / "plots"])
    client, run = only_run(settings)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "signal on mini"
    assert run.data.params == {"model": "signal"}
    assert run.data.tags["git_commit"] == "abc"
    assert run.data.metrics == {"PAM/musicality/SRCC": 0.5, "PAM/musicality/K-Tau": 0.25}
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["plots", "results.jsonl"]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "plots")] == ["plots/a.png"]
    assert (tmp_path / "artifacts").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_off_is_not_left_running(settings, error, status):
    with pytest.raises(error), MLflowCallback(settings, DESCRIPTION) as callback:
        callback.start()
        raise error
    assert only_run(settings)[1].info.status == status


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://x", "sqlite:////proc/no/such/mlflow.db"])
def test_a_store_that_fails_is_a_warning(uri, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with MLflowCallback(TrackingSettings(uri, "experiment", None), DESCRIPTION) as callback:
        callback.start()
        callback.log_metrics({"a": 1.0})
        callback.log_files([])
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING" and "cmi_bench" in record.name]
    assert "The run goes on" in warning.getMessage()


def test_no_store_records_nothing(caplog):
    with MLflowCallback(TrackingSettings(None, "experiment", None), DESCRIPTION) as callback:
        callback.start()
        callback.log_metrics({"a": 1.0})
    assert not caplog.records


@pytest.mark.slow
def test_several_processes_may_open_a_new_store_at_once(settings):
    code = textwrap.dedent(
        f"""
        from cmi_bench.tracking.mlflow import *
        from cmi_bench.tracking.mlflow import *
        with MLflowCallback({settings!r}, RunDescription("r", {{}}, {{}})) as callback:
            callback.start()
            assert callback.client is not None
        """
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    client = MlflowClient(settings.uri)
    experiment = client.get_experiment_by_name("experiment")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"] * 3
