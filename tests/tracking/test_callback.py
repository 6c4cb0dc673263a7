"""A run and its Lightning callback, against MLflow's real SQLite store."""

from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.callback import MLflowCallback
from cmi_bench.tracking.mlflow import RunDescription


@pytest.fixture
def settings(tmp_path):
    uri, artifacts = f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts")
    return TrackingConfig("here", uri=uri, artifacts=artifacts, experiment="experiment")


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
        metrics = {"PAM/musicality/SRCC": 0.5, "PAM/musicality/K-Tau": 0.25}
        callback.record(metrics, [tmp_path / "results.jsonl", tmp_path / "plots"])
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
    with MLflowCallback(TrackingConfig("here", uri=uri), DESCRIPTION) as callback:
        callback.record({"a": 1.0}, [])
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING" and "cmi_bench" in record.name]
    assert "The run goes on" in warning.getMessage()


def test_no_store_records_nothing(caplog):
    with MLflowCallback(TrackingConfig("none"), DESCRIPTION) as callback:
        callback.record({"a": 1.0}, [])
    assert not caplog.records


def test_progress_of_a_long_run_is_sent_by_the_first_rank_only(monkeypatch):
    monkeypatch.setattr("cmi_bench.tracking.callback.PROGRESS_SECONDS", -1.0)
    callback, sent = MLflowCallback(TrackingConfig("none"), DESCRIPTION), []
    monkeypatch.setattr(callback, "log_metrics", sent.append)
    started = []
    monkeypatch.setattr(callback, "start", lambda: started.append(True))
    for is_first in (False, True):
        callback.on_predict_start(SimpleNamespace(is_global_zero=is_first), None)
    assert started == [True]
    trainer = SimpleNamespace(world_size=2)
    for batch in range(2):
        callback.on_predict_batch_end(trainer, None, None, (3, None), batch)
    callback.on_predict_end(trainer, None)
    assert sent == [{"items_done": 6}, {"items_done": 12}, {"items_done": 12}]
