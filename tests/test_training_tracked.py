"""A training on a real MLflow server: killed and resumed it is one run, and its checkpoints are what a sweep scores."""

import subprocess
import sys

import pytest
from command_line import PROJECT, run_command
from mlflow import MlflowClient
from mlflow_server import mlflow_server
from own_tables import write_song, write_table

STOPPED = 25
"""The step in which the process is killed; its last state is that after 20 steps or a later one."""
KILLED_IN_STEP = f"""
import os, runpy, signal, sys
from cmi_bench.tracking.mlflow_training import MLflowTraining
curves = MLflowTraining.curves
def and_die(self, step, values):
    curves(self, step, values)
    if step == {STOPPED}:
        self._curves.send()
        os.kill(os.getpid(), signal.SIGKILL)
MLflowTraining.curves = and_die
sys.argv[0] = "run.py"
runpy.run_path("run.py", run_name="__main__")
"""


def write_ratings(folder, name, places):
    """Songs of which each is rated lower the noisier it is, each with a prompt of its own."""
    rows = []
    for place in places:
        write_song(folder / f"{place}.wav", hertz=200 + 10 * place, noise=0.01 * (place % 20))
        rows.append({"song": f"{place}.wav", "prompt": f"song {place}", "rating": 5 - 0.2 * (place % 20)})
    return write_table(folder / name, rows)


@pytest.mark.slow
def test_a_training_its_kill_and_the_sweep_over_its_checkpoints_are_linked(tmp_path):
    learnt = write_ratings(tmp_path / "songs", "learnt.csv", range(30))
    test = write_ratings(tmp_path / "songs", "test.csv", range(30, 50))
    with mlflow_server(tmp_path) as uri:
        where = (f"tracking.uri={uri}", f"cache.dir={tmp_path}/cache", f"data_root={tmp_path}/data", "+device=cpu")
        own = ("data=custom", f"data.root={tmp_path}/songs", "data.scale=[1,5]", "data.name=mine")
        train = (
            "task=train", *own, f"data.csv={learnt}", "model=audio_statistics", "recipe=small", "head=linear",
            "train.max_steps=40", "train.validate_every=10", "train.keep_every=20", "train.save_seconds=0.1",
            "train.batch_size=8", "train.patience=null", f"hydra.run.dir={tmp_path}/run", *where,
        )  # fmt: skip
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_IN_STEP, *train], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        assert killed.returncode == -9, killed.stderr
        resumed = run_command(*train)
        assert resumed.returncode == 0, resumed.stderr
        kept = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
        swept = run_command(
            "-m", "+sweep=checkpoints", f"sweep.checkpoint_dir={tmp_path}/run/checkpoints", *own, f"data.csv={test}",
            "metrics.resamples=0", f"hydra.sweep.dir={tmp_path}/sweep", *where,
        )  # fmt: skip
        assert swept.returncode == 0, swept.stderr

        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("cmi-rewardbench").experiment_id
        (training,) = client.search_runs([experiment], "tags.task = 'train'")
        assert training.info.status == "FINISHED"
        steps = [point.step for point in client.get_metric_history(training.info.run_id, "train/loss")]
        assert steps == list(range(1, 41))
        validated = [point.step for point in client.get_metric_history(training.info.run_id, "validation/loss")]
        assert validated == [0, 10, 20, 30, 40]
        assert {one.tags[0].value for one in training.inputs.dataset_inputs} == {"train", "validation"}

        files = {file.path for file in client.list_artifacts(training.info.run_id)}
        assert {"README.md", "config.yaml", "history.jsonl", "metadata.json", "report.html"} <= files

        models = {model.name: model for model in client.search_logged_models([experiment])}
        assert sorted(name.removeprefix("trained ") for name in models) == kept
        outputs = {one.model_id: one.step for one in training.outputs.model_outputs}
        for name, model in models.items():
            assert model.source_run_id == training.info.run_id
            assert outputs[model.model_id] == int(name.rpartition("_")[2])
            of_run = {metric.run_id: metric for metric in model.metrics if metric.key == "mine/musicality SRCC"}
            (scored,) = of_run.values()
            evaluating = client.get_run(scored.run_id)
            assert evaluating.info.run_name.startswith(f"{name} on")
            digests = {one.dataset.name: one.dataset.digest for one in evaluating.inputs.dataset_inputs}
            assert digests["mine"] == scored.dataset_digest


@pytest.mark.slow
def test_a_sweep_over_trainings_is_a_run_above_them_with_their_figures(tmp_path):
    learnt = write_ratings(tmp_path / "songs", "learnt.csv", range(30))
    store = f"sqlite:///{tmp_path}/mlflow.db"
    swept = run_command(
        "-m", "task=train", "optimizer.lr=1e-3,1e-2", "data=custom", f"data.csv={learnt}", "data.scale=[1,5]",
        f"data.root={tmp_path}/songs", "data.name=mine", "model=audio_statistics", "recipe=small", "head=linear",
        "train.max_steps=10", "train.validate_every=5", "train.batch_size=8", "splits.validation=0.4",
        "metrics.resamples=0", f"tracking.uri={store}", f"tracking.artifacts={tmp_path}/artifacts", "+device=cpu",
        f"cache.dir={tmp_path}/cache", f"data_root={tmp_path}/data", f"hydra.sweep.dir={tmp_path}/sweep",
    )  # fmt: skip
    assert swept.returncode == 0, swept.stderr
    assert "lr=0.01 | finished" in (tmp_path / "sweep/sweep.md").read_text()
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("cmi-rewardbench").experiment_id
    trainings = client.search_runs([experiment], "tags.task = 'train'", order_by=["params.lr"])
    (above,) = {run.data.tags["mlflow.parentRunId"] for run in trainings}
    assert [run.data.params["lr"] for run in trainings] == ["0.001", "0.01"]
    assert {run.info.status for run in trainings} == {"FINISHED"}
    along = client.get_metric_history(above, "validation by job/mine musicality SRCC")
    assert [point.step for point in along] == [0, 1]
    assert client.get_run(above).data.metrics["jobs_finished"] == 2
