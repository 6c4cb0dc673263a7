"""A training in MLflow, on a real SQLite store: curves, checkpoints as models, datasets, and going on after a kill."""

import json
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from recorded_runs import dataset, outcome, recorded_run

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.description import RunDescription, ScoredModel
from cmi_bench.tracking.mlflow_training import MLflowTraining
from cmi_bench.tracking.scored_data import ScoredDataset
from cmi_bench.tracking.training import CHECKED, LEARNT, SET_ASIDE, TrainingDescription

RUN = RunDescription("training a head on mini", params={"lr": "0.1"}, tags={"recipe": "small"})
VALIDATION = {"validation/loss": 0.5, "validation/CMI-Pref musicality ACC": 0.7}


def described(folder):
    """A checkpoint's model is what is in its folder."""
    weights = (folder / "weights").read_text()
    return ScoredModel(f"key of {weights}", folder.name, {"step": folder.name[-3:], "source": str(folder.resolve())})


DESCRIPTION = TrainingDescription(
    RUN,
    described,
    {
        LEARNT: [ScoredDataset("CMI-Pref", 90, "a" * 64)],
        SET_ASIDE: [ScoredDataset("CMI-Pref", 10, "b" * 64)],
        CHECKED: [ScoredDataset("PAM", 500, "c" * 64)],
    },
    source="/rows/all_train.jsonl",
)


def checkpoint(folder, step, weights=None):
    made = folder / "checkpoints" / f"step_{step:03d}"
    made.mkdir(parents=True, exist_ok=True)
    (made / "weights").write_text(weights or f"weights of {step}")
    return made


def training(settings, folder, steps=(), *, kept=(), status=None):
    """Train for some steps, validate where a checkpoint is kept, and end, unless the process is killed."""
    made = MLflowTraining(settings, DESCRIPTION, folder)
    made.start()
    for step in steps:
        made.curves(step, {"train/loss": 1 / step})
        if step in kept:
            made.curves(step, VALIDATION)
            made.checkpoint(step, checkpoint(folder, step), VALIDATION)
    if status:
        made.close(status)
    else:
        made._curves.send()  # what the seconds between two calls would have done
    return made.run.run_id


def models_of(settings):
    client = MlflowClient(settings.uri)
    experiment = client.get_experiment_by_name(settings.experiment)
    return sorted(client.search_logged_models([experiment.experiment_id]), key=lambda one: one.name)


def steps_of(settings, run_id, name):
    return [point.step for point in MlflowClient(settings.uri).get_metric_history(run_id, name)]


def test_a_training_has_curves_params_and_datasets_by_their_use(settings, tmp_path):
    run_id = training(settings, tmp_path, range(1, 5), kept=[4], status="FINISHED")
    run = MlflowClient(settings.uri).get_run(run_id)
    assert (run.info.status, run.info.run_name, run.data.params) == ("FINISHED", RUN.name, {"lr": "0.1"})
    assert steps_of(settings, run_id, "train/loss") == [1, 2, 3, 4]
    inputs = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert {use: (one.name, one.digest) for use, one in inputs.items()} == {
        "train": ("CMI-Pref", "a" * 8), "validation": ("CMI-Pref", "b" * 8), "test": ("PAM", "c" * 8),
    }  # fmt: skip
    assert json.loads(inputs["train"].source) == {"uri": "/rows/all_train.jsonl"}


def test_a_checkpoint_is_the_model_that_later_runs_score_with(settings, tmp_path):
    run_id = training(settings, tmp_path, range(1, 7), kept=[3, 6], status="FINISHED")
    scored = described(tmp_path / "checkpoints" / "step_006")
    evaluation = RunDescription("cmi_rm step_006 on mini", {}, {}, step=6, model=scored)
    with recorded_run(settings, evaluation) as evaluating:
        evaluating.record(outcome(datasets=[dataset("MusicEval", 4, "d" * 64)]))
    first, second = models_of(settings)
    assert (first.name, second.name) == ("step_003", "step_006")
    assert {first.source_run_id, second.source_run_id} == {run_id}
    found = {(one.key, one.run_id): one for one in second.metrics}
    validated = found["validation/CMI-Pref musicality ACC", run_id]
    assert (validated.value, validated.step, validated.dataset_digest) == (0.7, 6, "b" * 8)
    assert found["MusicEval/musicality SRCC", evaluating.run_id].dataset_digest == "d" * 8
    outputs = MlflowClient(settings.uri).get_run(run_id).outputs.model_outputs
    assert {(one.model_id, one.step) for one in outputs} == {(first.model_id, 3), (second.model_id, 6)}
    # Told as a point of a curve and of a checkpoint, it stands once in the run.
    assert steps_of(settings, run_id, "validation/loss") == [3, 6]


def test_a_resumed_training_goes_on_in_its_run_and_no_point_is_doubled(settings, tmp_path):
    killed = training(settings, tmp_path, range(1, 6), kept=[3])
    resumed = training(settings, tmp_path, range(3, 9), kept=[3, 6], status="FINISHED")
    assert resumed == killed
    client = MlflowClient(settings.uri)
    assert client.get_run(killed).info.status == "FINISHED"
    assert steps_of(settings, killed, "train/loss") == list(range(1, 9))
    assert steps_of(settings, killed, "validation/loss") == [3, 6]
    assert [model.name for model in models_of(settings)] == ["step_003", "step_006"]
    run = client.get_run(killed)
    assert sorted(one.step for one in run.outputs.model_outputs) == [3, 6]
    assert len(run.inputs.dataset_inputs) == 3


def test_checkpoints_that_were_replaced_are_no_models_unless_something_scored_with_them(settings, tmp_path):
    made = MLflowTraining(settings, DESCRIPTION, tmp_path)
    made.start()
    for step in (1, 2, 3):
        made.checkpoint(step, checkpoint(tmp_path, step), VALIDATION)
    with recorded_run(settings, replace(RUN, model=described(tmp_path / "checkpoints" / "step_002"))) as evaluating:
        evaluating.record(outcome())
    made.checkpoint(3, checkpoint(tmp_path, 3, "other weights of 3"), VALIDATION)
    for step in (1, 2):
        (tmp_path / "checkpoints" / f"step_{step:03d}" / "weights").unlink()
        (tmp_path / "checkpoints" / f"step_{step:03d}").rmdir()
    made.close("FINISHED")
    assert [one.tags["scored_model"] for one in models_of(settings)] == [
        "key of weights of 2",
        "key of other weights of 3",
    ]


def test_a_training_of_another_store_begins_there(settings, tmp_path):
    (tmp_path / "record.json").write_text('{"kind": "mlflow", "record": "0123456789abcdef0123456789abcdef"}')
    run_id = training(settings, tmp_path, [1], status="KILLED")
    assert MlflowClient(settings.uri).get_run(run_id).info.status == "KILLED"
    (tmp_path / "record.json").write_text("half a fi")
    assert training(settings, tmp_path, [1], status="FINISHED") != run_id


@pytest.mark.parametrize("uri", [None, "http://127.0.0.1:9"])
def test_a_store_that_is_not_there_costs_a_warning_at_most(uri, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    training(TrackingConfig("there", uri=uri, timeout=5.0), tmp_path, [1, 2], kept=[2], status="FINISHED")
    assert caplog.text.count("WARNING") == (0 if uri is None else 1)
    assert not (tmp_path / "record.json").exists()


def test_a_checkpoint_that_cannot_be_described_costs_a_warning(settings, caplog, tmp_path):
    made = MLflowTraining(settings, DESCRIPTION, tmp_path)
    made.start()
    made.checkpoint(1, tmp_path / "not written", VALIDATION)
    made.close("FINISHED")
    assert "MLflow: describing a checkpoint failed (FileNotFoundError" in caplog.text
    assert MlflowClient(settings.uri).get_run(made.run.run_id).data.metrics == VALIDATION


def test_trainings_that_differ_in_their_seed_stand_under_one(settings, tmp_path):
    parent = MLflowTraining(settings, replace(DESCRIPTION, seeds=2), tmp_path)
    parent.start()
    for seed in (7, 8):
        member = parent.member(seed, folder := tmp_path / f"seed_{seed}")
        folder.mkdir()
        member.start()
        member.curves(1, {"train/loss": seed / 10})
        member.close("FINISHED")
    parent.checkpoint(1, checkpoint(tmp_path, 1), VALIDATION)
    parent.close("FINISHED")
    client = MlflowClient(settings.uri)
    below = f"tags.`mlflow.parentRunId` = '{parent.run.run_id}'"
    runs = client.search_runs([parent.run.experiment_id], below, order_by=["attributes.run_name"])
    assert [(run.info.run_name, run.data.params["seed"], run.data.metrics) for run in runs] == [
        ("training a head on mini seed 7", "7", {"train/loss": 0.7}),
        ("training a head on mini seed 8", "8", {"train/loss": 0.8}),
    ]
    assert [model.source_run_id for model in models_of(settings)] == [parent.run.run_id]
