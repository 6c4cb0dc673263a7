"""`run.py` against a real MLflow server on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import free_port, mlflow_server

PROJECT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path):
    """The URI of an MLflow server with a SQLite store."""
    with mlflow_server(tmp_path) as uri:
        yield uri


def run(tiny, folder, *words, env=None):
    data = [f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl", "+device=cpu", "workers=0"]
    return subprocess.run(
        [sys.executable, str(PROJECT / "run.py"), "model=random", *data, f"hydra.run.dir={folder}", *words],
        capture_output=True, text=True, check=False, env=env,
    )  # fmt: skip


def test_a_run_can_be_queried_from_the_server(server, tiny, tmp_path):
    done = run(tiny, tmp_path / "run", f"tracking.uri={server}", "tracking.artifacts=null")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("cmi-rewardbench")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "random on benchmark"
    assert {"PAM/musicality/SRCC", "MusicArena/preference/ACC", "CMI-Pref/alignment/ACC"} <= set(found.data.metrics)
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())["summary"]
    assert found.data.metrics["PAM/musicality/SRCC"] == metrics[0]["SRCC"]
    assert found.data.params["model"] == "random"
    assert "git_commit" in found.data.tags or not (PROJECT / ".git").exists()
    artifacts = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert {"results.jsonl", "metrics.json", "latex.txt", "config.yaml", "metadata.json"} <= artifacts
    local = client.download_artifacts(found.info.run_id, "results.jsonl", str(tmp_path))
    assert Path(local).read_bytes() == (tmp_path / "run/results.jsonl").read_bytes()


def test_a_server_that_is_down_is_a_warning(tiny, tmp_path):
    quick = os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = run(tiny, tmp_path / "run", f"tracking.uri=http://127.0.0.1:{free_port()}", env=quick)
    assert done.returncode == 0, done.stderr
    assert "MLflow: opening the store failed" in done.stderr
    assert "The run goes on" in done.stderr
    assert (tmp_path / "run/results.jsonl").exists()
    assert "Traceback" not in done.stderr
