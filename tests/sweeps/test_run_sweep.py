"""`run.py -m` over checkpoints, in two processes, with a real MLflow server."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import mlflow_server
from parity_rows import BUNDLE, write_parity_rows

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

CHECKPOINTS = {"step_500": "sa_none", "step_1000": "sa_mean", "step_2000": "sa_conv"}


@pytest.fixture
def words(tmp_path):
    """Three of the bundle's checkpoints as steps of a training, the second of them cut off."""
    for base in ("muq", "muq-mulan", "xlm-roberta"):
        shutil.copytree(BUNDLE / base, tmp_path / "ckpts" / base)
    for step, name in CHECKPOINTS.items():
        shutil.copytree(BUNDLE / name, tmp_path / "ckpts" / step)
    weights = tmp_path / "ckpts/step_1000/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    rows = write_parity_rows(tmp_path / "root")
    return [
        "+sweep=checkpoints", f"sweep.checkpoint_dir={tmp_path}/ckpts", "sweep.pattern=step_*",
        f"data.root={tmp_path}/root", f"data.jsonl={rows}", f"cache.dir={tmp_path}/cache", "metrics.resamples=100",
        "workers=0", "+device=cpu", f"hydra.sweep.dir={tmp_path}/sweep",
    ]  # fmt: skip


def runs_of(client):
    """Return the sweep's run and its children by name and status."""
    experiment = client.get_experiment_by_name("cmi-rewardbench")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(runs) == 1 + len(children)
    return parent, {(run.info.run_name, run.info.status): run for run in children}


def lines(text):
    return list(csv.DictReader(text.splitlines()))


def test_checkpoints_in_two_processes_one_of_them_damaged_and_then_mended(words, tmp_path, multirun):
    with mlflow_server(tmp_path) as uri:
        tracking = ["tracking=mlflow", f"tracking.uri={uri}", "tracking.artifacts=null"]
        done = subprocess.run(
            [sys.executable, str(PROJECT / "run.py"), "-m", "+launch=joblib", *words, *tracking, "workers=1"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "1 of 3 jobs did not finish: step_1000 (failed)" in done.stderr
        assert "Traceback" not in done.stderr
        client = MlflowClient(uri)
        first, children = runs_of(client)
        assert first.info.status == "FAILED"
        names = [f"cmi_rm step_{step} on benchmark" for step in (1000, 2000, 500)]
        expected = list(zip(names, ("FAILED", "FINISHED", "FINISHED"), strict=True))
        assert sorted(children) == expected
        assert "step_1000/model.safetensors" in children[expected[0]].data.tags["error"]

        shutil.copy(BUNDLE / "sa_mean/model.safetensors", tmp_path / "ckpts/step_1000")
        untouched = (tmp_path / "sweep/0/results.jsonl").stat().st_mtime_ns
        multirun(*words, *tracking)
        assert (tmp_path / "sweep/0/results.jsonl").stat().st_mtime_ns == untouched
        parent, children = runs_of(client)
        assert (parent.info.run_id, parent.info.status) == (first.info.run_id, "FINISHED")
        assert sorted(children) == [expected[0], (names[0], "FINISHED"), *expected[1:]]
        table = lines(Path(client.download_artifacts(parent.info.run_id, "sweep.csv", str(tmp_path))).read_text())
        history = client.get_metric_history(parent.info.run_id, "CMI-Pref by step/alignment ACC")
        files = {file.path for file in client.list_artifacts(parent.info.run_id)}
        models = {
            model.params["checkpoint"]: model for model in client.search_logged_models([parent.info.experiment_id])
        }

    assert [(row["label"], row["step"], row["status"]) for row in table] == [
        (label, label.removeprefix("step_"), "finished") for label in CHECKPOINTS
    ]
    finished = {name: run for (name, status), run in children.items() if status == "FINISHED"}
    for number, row in enumerate(table):
        summary = json.loads((tmp_path / f"sweep/{number}/metrics.json").read_text())["summary"]
        accuracy = {line["task"]: line["ACC"] for line in summary}
        run = finished[f"cmi_rm {row['label']} on benchmark"]
        assert float(row["CMI-Pref/alignment/ACC"]) == accuracy["alignment"]
        assert run.data.metrics["CMI-Pref/alignment ACC"] == accuracy["alignment"]
        assert (run.data.params["step"], run.data.params["checkpoint"]) == (row["step"], row["label"])
        assert (run.data.tags["model"], run.data.tags["dataset"]) == ("cmi_rm", "benchmark")
    assert sorted(models) == sorted(CHECKPOINTS)  # one for each, however often it was tried
    for label, model in models.items():
        (value,) = [one for one in model.metrics if one.key == "CMI-Pref/alignment ACC"]
        run = finished[f"cmi_rm {label} on benchmark"]
        assert (value.value, value.step) == (
            run.data.metrics["CMI-Pref/alignment ACC"],
            int(label.removeprefix("step_")),
        )
        assert (value.dataset_name, value.run_id) == ("CMI-Pref", run.info.run_id)
        assert (model.params["step"], model.params["source"]) == (str(value.step), str(tmp_path / "ckpts" / label))
    by_step = {one.step: one.value for one in history}
    assert by_step == {int(row["step"]): float(row["CMI-Pref/alignment/ACC"]) for row in table}
    assert {"sweep.md", "comparison.md", "metrics_by_step.png", "report.html"} <= files
    assert "step\\_1000" in parent.data.tags["mlflow.note.content"]


def test_the_password_of_a_store_is_in_no_file_and_not_printed(sweep, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    caplog.set_level("DEBUG", logger="cmi_bench")
    sweep("max_dur=1,2", "tracking.uri='http://somebody:SECRET@127.0.0.1:9'")
    files = [path for path in (tmp_path / "sweep").rglob("*") if path.is_file()]
    assert {"multirun.yaml", "sweep.json", "job.json", "overrides.yaml", "config.yaml"} <= {path.name for path in files}
    assert [path for path in files if b"SECRET" in path.read_bytes()] == []
    printed = capsys.readouterr()
    assert "SECRET" not in printed.out + printed.err + caplog.text
    assert "http://***@127.0.0.1:9" in caplog.text
