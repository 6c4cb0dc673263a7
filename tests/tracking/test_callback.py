"""A run and its Lightning callback, against MLflow's real SQLite store."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from recorded_runs import DESCRIPTION, outcome, recorded_run

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.callback import TrackingCallback
from cmi_bench.tracking.ledger import LOOKS
from cmi_bench.tracking.mlflow import MLflowRun


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
    with recorded_run(settings) as run:
        done = outcome(files=[tmp_path / "results.jsonl", tmp_path / "plots"])
        run.record(replace(done, metadata={**done.metadata, LOOKS: 8}))
    client, run = only_run(settings)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "signal on mini"
    assert run.data.params == {"model": "signal"}
    assert (run.data.tags["git_commit"], run.data.tags["test_set_looks"]) == ("abc", "8")
    assert run.data.metrics == {one.name: one.value for one in outcome().metrics}
    assert run.data.metrics["MusicEval/musicality SRCC"] == pytest.approx(0.8)
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["plots", "results.jsonl", "rows.json"]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "plots")] == ["plots/a.png"]
    assert (tmp_path / "artifacts").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_off_is_not_left_running(settings, error, status):
    with pytest.raises(error), recorded_run(settings):
        raise error
    assert only_run(settings)[1].info.status == status


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://x", "sqlite:////proc/no/such/mlflow.db"])
def test_a_store_that_fails_is_a_warning(uri, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with TrackingCallback(MLflowRun(TrackingConfig("here", uri=uri), DESCRIPTION)) as callback:
        callback.record(outcome())
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING" and "cmi_bench" in record.name]
    assert "The run goes on" in warning.getMessage()


def test_no_store_records_nothing(caplog):
    with TrackingCallback(MLflowRun(TrackingConfig("none"), DESCRIPTION)) as callback:
        callback.record(outcome())
    assert not caplog.records


def test_progress_of_a_long_run_is_sent_by_the_first_rank_only(monkeypatch):
    monkeypatch.setattr("cmi_bench.tracking.callback.PROGRESS_SECONDS", -1.0)
    started, sent = [], []
    callback = TrackingCallback(SimpleNamespace(start=lambda: started.append(True), progress=sent.append))
    for is_first in (False, True):
        trainer = SimpleNamespace(world_size=2, is_global_zero=is_first)
        callback.done = 0
        callback.on_predict_start(trainer, None)
        assert not started
        for batch in range(2):
            callback.on_predict_batch_end(trainer, None, None, (3, None), batch)
        callback.on_predict_end(trainer, None)
    assert started == [True, True]  # which a tracker takes as one
    assert sent == [6, 12, 12]


@pytest.mark.parametrize(
    ("error", "calls"), [(ValueError, ["start", "FAILED"]), (KeyboardInterrupt, ["KILLED"]), (None, ["FINISHED"])]
)
def test_a_run_that_fails_before_its_first_scores_is_recorded_too(error, calls):
    said = []
    tracker = SimpleNamespace(start=lambda: said.append("start"), close=said.append)
    with contextlib.suppress(ValueError, KeyboardInterrupt), TrackingCallback(tracker) as callback:
        callback.on_predict_start(SimpleNamespace(is_global_zero=True), None)
        if error:
            raise error
    assert said == calls
