"""Runs in CSV files and in Weights & Biases: what is written, and that no failure of it is more than a warning."""

import csv
import sys
from pathlib import Path

import pytest
import yaml
from recorded_runs import outcome

from cmi_bench.config import TrackingConfig, TrackingKind
from cmi_bench.tracking.callback import TrackingCallback
from cmi_bench.tracking.description import NOTE_TAG, RunDescription
from cmi_bench.tracking.loggers import CsvRun, WandbRun

DESCRIPTION = RunDescription(
    "signal step_500 on mini/pam",
    params={"model": "signal", "step": "500"},
    tags={"model": "signal", "dataset": "mini/pam", "git_commit": "abc", NOTE_TAG: "made up", "mlflow.user": "me"},
    step=500,
    group="a sweep",
)
FIRST = "cmi-rewardbench/a sweep/signal step_500 on mini_pam/version_0"


def csv_settings(folder: Path) -> TrackingConfig:
    return TrackingConfig("csv", kind=TrackingKind.csv, folder=str(folder))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_two_files_in_a_folder_of_its_sweep(tmp_path):
    run, found = CsvRun(csv_settings(tmp_path), DESCRIPTION), outcome(files=[tmp_path / "run/results.jsonl"])
    with TrackingCallback(run) as tracking:
        run.start()
        assert (tmp_path / FIRST / "hparams.yaml").is_file()  # a run that is killed now is seen
        run.progress(3)
        assert table(tmp_path / FIRST) == [{"run/clips done": "3", "step": "500"}]
        tracking.record(found)
    params = yaml.safe_load((tmp_path / FIRST / "hparams.yaml").read_text())
    assert params == {
        "model": "signal", "dataset": "mini/pam", "step": "500", "git_commit": "abc", "status": "FINISHED",
        "results": str(tmp_path / "run"),
    }  # fmt: skip
    last = table(tmp_path / FIRST)[-1]
    assert last["step"] == "500"
    for one in found.metrics:
        assert float(last[one.name]) == pytest.approx(one.value)


def test_another_run_of_that_name_gets_another_folder_and_a_failed_one_says_so(tmp_path):
    for _ in range(2):
        run = CsvRun(csv_settings(tmp_path), DESCRIPTION)
        with pytest.raises(RuntimeError), TrackingCallback(run):
            run.start()
            raise RuntimeError
    second = (tmp_path / FIRST).with_name("version_1")
    assert yaml.safe_load((second / "hparams.yaml").read_text())["status"] == "FAILED"


def test_a_run_that_was_never_started_leaves_nothing(tmp_path):
    with TrackingCallback(CsvRun(csv_settings(tmp_path), DESCRIPTION)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    run = CsvRun(csv_settings(tmp_path / "file"), DESCRIPTION)
    with TrackingCallback(run) as tracking:
        tracking.record(outcome())
    assert caplog.text.count("CSV: opening the run failed") == 1
    assert "its files are complete" in caplog.text


@pytest.fixture
def wandb_settings(tmp_path, monkeypatch):
    """Weights & Biases as it is installed, without a network."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return TrackingConfig("wandb", kind=TrackingKind.wandb, folder=str(tmp_path / "runs"), offline=True, timeout=120)


def offline_run(settings):
    from wandb_file import read_offline_run

    return read_offline_run(Path(settings.folder))


@pytest.mark.slow
def test_a_run_in_weights_and_biases_has_what_one_in_mlflow_has(wandb_settings, tmp_path, caplog):
    caplog.set_level("INFO", logger="cmi_bench")
    (tmp_path / "plots").mkdir()
    for name in ("results.jsonl", "plots/a.png"):
        (tmp_path / name).write_text(name)
    found = outcome(files=[tmp_path / "results.jsonl", tmp_path / "plots"])
    with TrackingCallback(WandbRun(wandb_settings, DESCRIPTION)) as tracking:
        tracking.record(found)
    assert "wandb sync" in caplog.text
    assert "failed" not in caplog.text
    run = offline_run(wandb_settings)
    assert (run.name, run.project, run.group, run.notes) == (
        "signal step_500 on mini/pam", "cmi-rewardbench", "a sweep", "made up",
    )  # fmt: skip
    assert (run.tags, run.exit_code) == (["signal", "mini/pam"], 0)
    assert {key: value for key, value in run.config.items() if key != "_wandb"} == {
        "model": "signal", "dataset": "mini/pam", "step": "500", "git_commit": "abc",
    }  # fmt: skip
    assert run.metrics["trainer/global_step"] == 500
    for one in found.metrics:
        assert run.metrics[one.name] == pytest.approx(one.value)
    assert run.files == {"results.jsonl", "plots/a.png"}


@pytest.mark.slow
def test_a_failed_run_is_one_there_too_and_the_next_is_another(wandb_settings):
    run = WandbRun(wandb_settings, DESCRIPTION)
    with pytest.raises(RuntimeError), TrackingCallback(run):
        run.start()
        raise RuntimeError
    assert offline_run(wandb_settings).exit_code == 1
    assert sys.modules["wandb"].run is None


@pytest.mark.slow
def test_a_run_that_the_program_has_open_gets_the_metrics_and_stays_open(wandb_settings):
    import wandb

    Path(wandb_settings.folder).mkdir()
    with wandb.init(mode="offline", dir=wandb_settings.folder, name="training") as training:
        with TrackingCallback(WandbRun(wandb_settings, DESCRIPTION)) as tracking:
            tracking.record(outcome())
        assert wandb.run is training
    run = offline_run(wandb_settings)
    assert run.name == "training"
    assert "MusicEval/musicality SRCC" in run.metrics


@pytest.mark.slow
def test_a_service_that_cannot_be_reached_costs_a_warning(wandb_settings, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    wandb_settings.offline, wandb_settings.timeout = False, 5.0
    with TrackingCallback(WandbRun(wandb_settings, DESCRIPTION)) as tracking:
        tracking.record(outcome())
    assert "wandb: opening the run failed" in caplog.text
