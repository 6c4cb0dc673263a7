"""Which tracker a configuration names; each is imported when it is made: what is checked before needs none of them."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cmi_bench.config import TrackingConfig, TrackingKind
from cmi_bench.errors import UserError
from cmi_bench.utils.installation import install_command

if TYPE_CHECKING:
    from cmi_bench.tracking.description import RunDescription
    from cmi_bench.tracking.tracker import Tracker
    from cmi_bench.tracking.training import TrainingDescription, TrainingTracker


def tracker_of(settings: TrackingConfig, description: "RunDescription") -> "Tracker":
    """Return what records a run, not started yet.

    Args:
        settings: Where to.
        description: The run's name, params and tags.
    """
    if settings.kind is TrackingKind.mlflow:
        from cmi_bench.tracking.mlflow import MLflowRun

        return MLflowRun(settings, description)
    from cmi_bench.tracking.loggers import CsvRun, WandbRun  # which import Lightning

    return (WandbRun if settings.kind is TrackingKind.wandb else CsvRun)(settings, description)


def training_tracker_of(
    settings: TrackingConfig, description: "TrainingDescription", folder: Path
) -> "TrainingTracker":
    """Return what records a training, not started yet.

    Args:
        settings: Where to.
        description: What is trained, on what.
        folder: The training's; what it is recorded as is kept there.
    """
    if settings.kind is TrackingKind.mlflow:
        from cmi_bench.tracking.mlflow_training import MLflowTraining

        return MLflowTraining(settings, description, folder)
    from cmi_bench.tracking.logger_training import LoggerTraining

    return LoggerTraining(settings, description, folder)


def record_sweep(
    settings: TrackingConfig, description: "RunDescription", metrics: Mapping[str, float], files: Sequence[Path]
) -> None:
    """Record a sweep beside the runs of its jobs; in MLflow it has a run above them instead.

    Args:
        settings: Where to.
        description: The sweep's, with itself as group.
        metrics: What became of its jobs.
        files: Its table, page and comparison.
    """
    if settings.kind is TrackingKind.mlflow:
        return
    from cmi_bench.tracking.loggers import CsvRun, WandbRun

    run = (WandbRun if settings.kind is TrackingKind.wandb else CsvRun)(settings, description)
    run.start()
    run.log_metrics(metrics)
    run.log_files(files)
    run.close("FINISHED")


def check_tracker(settings: TrackingConfig) -> None:
    """Check that what the tracker needs is there.

    Raises:
        UserError: Its package is not installed, it has no folder, or it has no key on this machine.
    """
    if settings.kind is TrackingKind.mlflow:
        return
    if settings.folder is None:
        raise UserError(f"tracking.kind={settings.kind} needs tracking.folder.", f"tracking={settings.kind} sets both.")
    if settings.kind is TrackingKind.wandb:
        if find_spec("wandb") is None:
            raise UserError("tracking=wandb needs the package wandb.", install_command("wandb"))
        if is_online(settings):
            _check_login()


def is_online(settings: TrackingConfig) -> bool:
    """Whether Weights & Biases is to be reached while the run goes on; `WANDB_MODE` is heeded."""
    return not settings.offline and os.environ.get("WANDB_MODE", "online") == "online"


def _check_login() -> None:
    """Check that Weights & Biases has a key on this machine; nothing is asked of the user, nor sent.

    Raises:
        UserError: It has none.
    """
    import wandb

    quiet()
    if not wandb.login(prompt=False):
        raise UserError(
            "tracking=wandb has no key on this machine.",
            "Log in with `wandb login`, set WANDB_API_KEY, or record for later: tracking.offline=true",
        )


def quiet() -> None:
    """Keep wandb from writing into the run's own messages; call before it is used."""
    os.environ.setdefault("WANDB_SILENT", "true")
