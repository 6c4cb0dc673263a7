"""Which tracker a configuration names, and what is said where it cannot be used."""

import sys
from types import SimpleNamespace

import pytest
from command_line import configured
from recorded_runs import DESCRIPTION

from cmi_bench.config import TrackingConfig, TrackingKind
from cmi_bench.errors import UserError
from cmi_bench.tracking import trackers
from cmi_bench.tracking.loggers import CsvRun, WandbRun
from cmi_bench.tracking.mlflow import MLflowRun
from cmi_bench.tracking.trackers import check_tracker, record_sweep, tracker_of
from cmi_bench.utils.installation import install_command

WANDB = TrackingConfig("wandb", kind=TrackingKind.wandb, folder="runs")


@pytest.mark.parametrize(
    ("word", "kind"), [("mlflow", MLflowRun), ("none", MLflowRun), ("csv", CsvRun), ("wandb", WandbRun)]
)
def test_each_choice_of_tracking_has_its_tracker(word, kind):
    assert type(tracker_of(configured(f"tracking={word}").tracking, DESCRIPTION)) is kind


def test_a_missing_package_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        check_tracker(WANDB)
    assert error.value.what == "tracking=wandb needs the package wandb."
    assert error.value.hint == install_command("wandb")


def test_a_kind_without_its_folder_is_refused():
    with pytest.raises(UserError, match=r"needs tracking\.folder"):
        check_tracker(TrackingConfig("mine", kind=TrackingKind.csv))


@pytest.fixture
def logged_out(monkeypatch):
    """A machine with wandb and without a key for it."""
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(login=lambda *, prompt: prompt))
    monkeypatch.delenv("WANDB_MODE", raising=False)


def test_a_missing_login_is_said_before_the_run_and_nothing_is_asked(logged_out):
    with pytest.raises(UserError, match="no key on this machine") as error:
        check_tracker(WANDB)
    assert "tracking.offline=true" in error.value.hint


def test_offline_needs_no_login(logged_out, monkeypatch):
    check_tracker(TrackingConfig("wandb", kind=TrackingKind.wandb, folder="runs", offline=True))
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_tracker(WANDB)


def test_a_sweep_is_recorded_beside_its_jobs(tmp_path):
    settings = TrackingConfig("csv", kind=TrackingKind.csv, folder=str(tmp_path))
    record_sweep(settings, DESCRIPTION, {"jobs": 3}, [tmp_path / "sweep/sweep.md"])
    (file,) = tmp_path.glob("*/signal on mini/version_0/metrics.csv")
    assert file.read_text() == "jobs,step\n3,0\n"
