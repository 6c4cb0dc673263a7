"""Opening a store, and fetching from it."""

import errno
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace

import pytest
from filelock import FileLock
from loopback import hanging_server
from mlflow import MlflowClient
from recorded_runs import sqlite_settings

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.tracking import mlflow_store
from cmi_bench.tracking.mlflow_store import fetch_results, open_experiment, sqlite_file


@pytest.fixture
def settings(tmp_path):
    """A store that is not there yet."""
    return sqlite_settings(tmp_path)


@pytest.mark.slow
def test_what_a_run_recorded_is_fetched_and_what_is_missing_is_named(settings, tmp_path):
    client, experiment = open_experiment(settings)
    assert open_experiment(settings)[1] == experiment
    (tmp_path / "results.jsonl").write_text("{}\n")
    with_results, without = (client.create_run(experiment).info.run_id for _ in range(2))
    client.log_artifact(with_results, str(tmp_path / "results.jsonl"))
    assert fetch_results(with_results, settings, tmp_path / "fetched").read_text() == "{}\n"
    with pytest.raises(UserError, match=r"has no results\.jsonl"):
        fetch_results(without, settings, tmp_path / "other")
    with pytest.raises(UserError, match="Check the run id"):
        fetch_results("0" * 32, settings, tmp_path / "other")


@pytest.mark.parametrize(
    ("artifacts", "location"),
    [(None, "file://{folder}/mlartifacts"), ("files", "file://{folder}/files"), ("s3://bucket/a", "s3://bucket/a")],
)
def test_artifacts_are_where_they_are_wanted_or_beside_the_database(
    artifacts, location, made_store, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = sqlite_settings(tmp_path, artifacts=artifacts)
    shutil.copy(made_store, tmp_path / "mlflow.db")
    client, experiment = open_experiment(settings)
    assert client.get_experiment(experiment).artifact_location == location.format(folder=tmp_path)
    assert not (tmp_path / "mlruns").exists()


def test_a_store_that_was_not_made_whole_is_made_anew(settings, made_store, tmp_path, monkeypatch):
    def half_made(tracking_uri):
        sqlite_file(tracking_uri).write_bytes(made_store.read_bytes()[:8192])
        raise OSError(errno.ENOSPC, "No space left on device")

    def made(tracking_uri):
        if not sqlite_file(tracking_uri).exists():
            shutil.copy(made_store, sqlite_file(tracking_uri))
        return MlflowClient(tracking_uri=tracking_uri)

    monkeypatch.setattr(mlflow_store, "MlflowClient", half_made)
    with pytest.raises(OSError, match="No space left"):
        open_experiment(settings)
    (tmp_path / ".mlflow.db.0a1b.tmp-journal").write_text("of a process that was killed meanwhile")
    monkeypatch.setattr(mlflow_store, "MlflowClient", made)
    client, experiment = open_experiment(settings)
    assert client.get_experiment(experiment).name == settings.experiment
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_a_store_that_is_not_named_or_not_there_is_told(settings, tmp_path):
    with pytest.raises(UserError, match="no store is named"):
        fetch_results("0" * 32, TrackingConfig("none"), tmp_path)
    with pytest.raises(UserError, match="There is no MLflow store at"):
        fetch_results("0" * 32, settings, tmp_path)


def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path):
    with hanging_server() as uri, pytest.raises(UserError) as raised:
        fetch_results("0" * 32, TrackingConfig("there", uri=uri.replace("//", "//me:SECRET@"), timeout=0.2), tmp_path)
    assert "no answer within 0.2 s" in raised.value.what
    assert "SECRET" not in str(raised.value)


def test_a_store_that_is_a_folder_or_no_database_is_refused_at_once(tmp_path):
    (tmp_path / "text.db").write_text("no database, but long enough to be taken for the header of one " * 20)
    for uri, reason in {
        f"sqlite:///{tmp_path}": "is a folder",
        str(tmp_path): "is a folder",
        tmp_path.as_uri(): "is a folder",
        f"sqlite:///{tmp_path}/text.db": "is no MLflow store: file is not a database",
    }.items():
        with pytest.raises(UserError, match=reason) as raised:
            open_experiment(TrackingConfig("here", uri=uri))
        assert "tracking.uri=sqlite:////" in raised.value.hint
        if "folder" in reason:
            with pytest.raises(UserError, match=reason):
                fetch_results("0" * 32, TrackingConfig("here", uri=uri), tmp_path)


def test_a_database_that_another_process_holds_is_not_waited_for_long(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("cmi_bench.tracking.mlflow_store.WRITE_SECONDS", 0.1)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"cannot be opened: database is locked\."):
            open_experiment(settings)


def test_a_process_that_hangs_while_it_makes_the_store_holds_nobody_up_for_long(settings, tmp_path):
    with FileLock(tmp_path / "mlflow.db.lock"), pytest.raises(UserError, match="Another process"):
        open_experiment(replace(settings, timeout=0.1))


@pytest.mark.slow
def test_several_processes_may_open_a_new_store_at_once(settings):
    code = textwrap.dedent(
        f"""
        from cmi_bench.config import TrackingConfig
        from cmi_bench.tracking.description import RunDescription
        from cmi_bench.tracking.mlflow import MLflowRun
        where = dict(uri={settings.uri!r}, artifacts={settings.artifacts!r}, experiment="experiment")
        run = MLflowRun(TrackingConfig("here", **where), RunDescription("r", {{}}, {{}}))
        run.start()
        assert run.client is not None
        run.close("FINISHED")
        """
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    client = MlflowClient(settings.uri)
    experiment = client.get_experiment_by_name("experiment")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"] * 3


def test_nothing_is_told_to_mlflows_makers():
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

    assert MLFLOW_DISABLE_TELEMETRY.get()
