"""Score clips with a model as the configuration says: what tasks with a model have in common."""

import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Callback

from cmi_bench.config import Config, OnError
from cmi_bench.data.manifest import read_manifest
from cmi_bench.errors import UserError
from cmi_bench.inference.clips import Clip
from cmi_bench.inference.devices import Devices, resolve_devices
from cmi_bench.inference.manifest_index import ManifestIndex
from cmi_bench.inference.plan import BatchLimits
from cmi_bench.inference.predict import Predictor
from cmi_bench.inference.score import Scored, score_clips
from cmi_bench.inference.settings import ScoreSettings
from cmi_bench.models.contract import RewardModel


def run_devices(config: Config) -> Devices:
    """Return the devices that the configuration asks for.

    Raises:
        UserError: A device that is not there, or several of them in a job of a sweep.
    """
    devices = resolve_devices(config.trainer["accelerator"], config.trainer["devices"])
    # Lightning starts its other processes by replaying the command line, which would be the whole sweep.
    started_outside = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    if devices.count > 1 and HydraConfig.get().mode is RunMode.MULTIRUN and not started_outside:
        raise UserError(
            f"A sweep runs each job on one device; this one has {devices.count}.",
            "Use +device=cuda:0 (or another one device), or start the processes with torchrun.",
        )
    return devices


def score_as_configured(
    clips: Sequence[Clip],
    model: RewardModel,
    config: Config,
    *,
    devices: Devices,
    folder: Path,
    callbacks: Sequence[Callback] = (),
) -> Scored:
    """Score clips; see `inference.score.score_clips`.

    Args:
        clips: What to score.
        model: The model, on this process's device.
        config: The run's configuration.
        devices: The run's devices.
        folder: The run's folder.
        callbacks: Further Lightning callbacks (tracking).
    """
    stop_on_failure = config.on_error is OnError.fail
    predictor = Predictor(
        config.trainer,
        devices,
        limits=BatchLimits(config.batch_size, config.batch_seconds),
        workers=config.workers,
        folder=folder,
        stop_on_failure=stop_on_failure,
        callbacks=callbacks,
    )
    settings = ScoreSettings(
        max_dur=config.max_dur,
        score_kwargs=config.model.get("score_kwargs") or {},
        cache_dir=Path(config.cache.dir) if config.cache.dir else None,
        resume=config.resume,
        stop_on_failure=stop_on_failure,
    )
    index = ManifestIndex(Path(config.data.root), read_manifest(Path(config.data.manifest)))
    return score_clips(clips, model, predictor, settings=settings, index=index, folder=folder)
