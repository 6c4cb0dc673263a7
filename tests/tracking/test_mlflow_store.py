"""Opening a store, and fetching from it."""

import subprocess
import sys
import textwrap

import pytest
from mlflow import MlflowClient

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.tracking.mlflow_store import fetch_results, open_experiment


@pytest.fixture
def settings(tmp_path):
    uri, artifacts = f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts")
    return TrackingConfig("here", uri=uri, artifacts=artifacts, experiment="experiment")


@pytest.mark.slow
def test_what_a_run_recorded_is_fetched_and_what_is_missing_is_named(settings, tmp_path):
    client, experiment = open_experiment(settings)
    assert open_experiment(settings)[1] == experiment
    (tmp_path / "results.jsonl").write_text("{}\n")
    with_results, without = (client.create_run(experiment).info.run_id for _ in range(2))
    client.log_artifact(with_results, str(tmp_path / "results.jsonl"))
    assert fetch_results(with_results, settings.uri, tmp_path / "fetched").read_text() == "{}\n"
    with pytest.raises(UserError, match=r"has no results\.jsonl"):
        fetch_results(without, settings.uri, tmp_path / "other")
    with pytest.raises(UserError, match="Check the run id"):
        fetch_results("0" * 32, settings.uri, tmp_path / "other")


def test_a_store_that_is_not_named_or_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="no store is named"):
        fetch_results("0" * 32, None, tmp_path)
    with pytest.raises(UserError, match="There is no MLflow store at"):
        fetch_results("0" * 32, f"sqlite:///{tmp_path}/mlflow.db", tmp_path)


@pytest.mark.slow
def test_several_processes_may_open_a_new_store_at_once(settings):
    code = textwrap.dedent(
        f"""
        from cmi_bench.config import TrackingConfig
        from cmi_bench.tracking.mlflow import RunDescription
        from cmi_bench.tracking.mlflow import MLflowRun
        with MLflowRun({settings!r}, RunDescription("r", {{}}, {{}})) as run:
            run.start()
            assert run.client is not None
        """
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    client = MlflowClient(settings.uri)
    experiment = client.get_experiment_by_name("experiment")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"] * 3
