"""`run.py` against a real MLflow server on loopback."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

PROJECT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(tmp_path):
    """The URI of an MLflow server with a SQLite store."""
    uri = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "store")],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=1)
            break
        except OSError:
            time.sleep(0.2)
    yield uri
    process.terminate()
    process.wait(timeout=20)


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
