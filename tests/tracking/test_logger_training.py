"""A training in CSV files and in Weights & Biases: curves by step, checkpoints, members, and going on after a kill."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cmi_bench.config import TrackingConfig, TrackingKind
from cmi_bench.tracking.description import RunDescription, ScoredModel
from cmi_bench.tracking.logger_training import LoggerTraining
from cmi_bench.tracking.scored_data import ScoredDataset
from cmi_bench.tracking.training import LEARNT, TrainingDescription

DESCRIPTION = TrainingDescription(
    RunDescription("training a head on mini", params={"lr": "0.1"}, tags={"recipe": "small", "model": "signal"}),
    lambda folder: ScoredModel("key", folder.name, {}),
    {LEARNT: [ScoredDataset("PAM", 90, "a" * 64)]},
)
FIRST = "cmi-rewardbench/training a head on mini/version_0"


def csv_settings(folder: Path) -> TrackingConfig:
    return TrackingConfig("csv", kind=TrackingKind.csv, folder=str(folder))


def table(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def train(settings, folder, steps, *, kept=(), status=None, description=DESCRIPTION):
    folder.mkdir(exist_ok=True)
    made = LoggerTraining(settings, description, folder)
    made.start()
    for step in steps:
        made.curves(step, {"train/loss": 1 / step})
        if step in kept:
            (checkpoint := folder / f"step_{step}").mkdir(exist_ok=True)
            (checkpoint / "model.safetensors").write_text("weights")
            made.checkpoint(step, checkpoint, {"validation/loss": step / 10})
    if status:
        made.close(status)
    return made


def test_a_training_is_a_line_for_each_step_and_says_what_it_learns_from(tmp_path):
    train(csv_settings(tmp_path / "csv"), tmp_path / "run", range(1, 4), kept=[2], status="FINISHED")
    found = tmp_path / "csv" / FIRST
    assert table(found) == [
        {"step": 1, "train/loss": 1.0}, {"step": 2, "train/loss": 0.5, "validation/loss": 0.2},
        {"step": 3, "train/loss": pytest.approx(1 / 3)},
    ]  # fmt: skip
    assert yaml.safe_load((found / "hparams.yaml").read_text()) == {
        "lr": "0.1", "recipe": "small", "model": "signal", "train PAM": f"90 rows, digest {'a' * 64}",
        "checkpoint step_2": str(tmp_path / "run" / "step_2"), "status": "FINISHED",
    }  # fmt: skip


def test_a_resumed_training_goes_on_in_its_file_and_no_line_is_doubled(tmp_path, recwarn):
    settings = csv_settings(tmp_path / "csv")
    train(settings, tmp_path / "run", range(1, 5), kept=[2, 4])  # and killed
    train(settings, tmp_path / "run", range(3, 7), kept=[4, 6], status="FINISHED")
    lines = table(tmp_path / "csv" / FIRST)
    assert [(line["step"], line.get("validation/loss")) for line in lines] == [
        (1, None), (2, 0.2), (3, None), (4, 0.4), (5, None), (6, 0.6),
    ]  # fmt: skip
    assert not [one for one in recwarn if "not empty" in str(one.message)]
    train(settings, tmp_path / "another", [1], status="FINISHED")
    assert len(table((tmp_path / "csv" / FIRST).with_name("version_1"))) == 1


def test_trainings_that_differ_in_their_seed_are_a_group(tmp_path):
    settings, several = csv_settings(tmp_path / "csv"), replace(DESCRIPTION, seeds=2)
    (tmp_path / "run" / "seed_8").mkdir(parents=True)
    parent = LoggerTraining(settings, several, tmp_path / "run")
    parent.start()
    member = parent.member(8, tmp_path / "run" / "seed_8")
    member.start()
    member.curves(1, {"train/loss": 0.8})
    member.close("FINISHED")
    parent.close("FINISHED")
    name = "training a head on mini"
    assert table(tmp_path / f"csv/cmi-rewardbench/{name}/{name} seed 8/version_0") == [{"step": 1, "train/loss": 0.8}]


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    train(csv_settings(tmp_path / "file"), tmp_path / "run", [1, 2], kept=[2], status="FINISHED")
    assert caplog.text.count("WARNING") == 1


@pytest.mark.slow
def test_a_training_in_weights_and_biases_and_its_members(tmp_path, monkeypatch, caplog):
    from wandb_file import read_offline_run

    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("WANDB_MODE", raising=False)

    def settings(folder):
        return TrackingConfig("wandb", kind=TrackingKind.wandb, folder=str(folder), offline=True, timeout=120)

    parent = LoggerTraining(settings(tmp_path / "parent"), replace(DESCRIPTION, seeds=2), tmp_path)
    parent.start()
    for seed, more in ((7, {}), (8, {"kept": [2]})):
        parent.settings = settings(tmp_path / f"of {seed}")
        (folder := tmp_path / f"seed_{seed}").mkdir()
        member = parent.member(seed, folder)
        train(member.settings, folder, [1, 2], status="FINISHED", description=member.description, **more)
        found = read_offline_run(tmp_path / f"of {seed}")
        assert (found.name, found.group) == (f"training a head on mini seed {seed}", "training a head on mini")
        assert (found.metrics["train/loss"], found.metrics["trainer/global_step"]) == (0.5, 2)
        assert found.config["train PAM"] == f"90 rows, digest {'a' * 64}"
    assert found.files == {"model.safetensors"}
    assert found.metrics["validation/loss"] == 0.2
    parent.curves(2, {"validation/loss": 0.1})
    parent.close("FINISHED")
    assert read_offline_run(tmp_path / "parent").metrics["validation/loss"] == 0.1
    assert "failed" not in caplog.text
