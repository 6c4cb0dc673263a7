"""Lightning's predict loop over a run's stages."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from lightning.pytorch import Callback, Trainer

from cmi_bench.inference.devices import Devices
from cmi_bench.inference.plan import BatchLimits
from cmi_bench.inference.progress import StageProgress
from cmi_bench.inference.stage import Stage, StageModule
from cmi_bench.inference.stop import StopOnFailure

NOISE = (
    ".*does not have many workers.*",  # more decoders than `workers` are not wanted: the model takes the time
    ".*LeafSpec.*is deprecated.*",  # between Lightning and torch
)
"""Lightning's warnings that say nothing to a user of the benchmark."""


class Predictor:
    """Runs stages one after the other, on all devices of the run."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        devices: Devices,
        *,
        limits: BatchLimits,
        workers: int,
        folder: Path,
        stop_on_failure: bool,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Build Lightning's Trainer.

        Args:
            settings: `trainer.*` of the configuration, with its `_target_`.
            devices: Where.
            limits: How large batches may get.
            workers: Decoding processes per device.
            folder: The run's folder.
            stop_on_failure: An item that fails ends the stage on all ranks.
            callbacks: Further Lightning callbacks (tracking).
        """
        self.limits = limits
        self.workers = workers
        watch = [StopOnFailure(folder)] if stop_on_failure else []
        chosen = {"accelerator": devices.accelerator, "devices": devices.selected}
        for name in ("lightning.pytorch", "lightning.fabric"):  # what devices are used is said in the metadata
            logging.getLogger(name).setLevel(logging.WARNING)
        self.trainer: Trainer = hydra.utils.instantiate(
            dict(settings) | chosen | {"callbacks": [*watch, StageProgress(), *callbacks]}
        )

    @property
    def processes(self) -> int:
        """How many share the work, one a device."""
        return self.trainer.world_size

    def run(self, stage: Stage[Any, Any], *, limits: BatchLimits | None = None) -> None:
        """Do all of a stage's work; returns on all ranks when it is done on all.

        Args:
            stage: The work.
            limits: How large this stage's batches may get, where that is not the run's to say.

        Raises:
            KeyboardInterrupt: The user stopped the run.
        """
        module = StageModule(stage, limits or self.limits, workers=self.workers)
        try:
            with warnings.catch_warnings():
                for message in NOISE:
                    warnings.filterwarnings("ignore", message)
                self.trainer.predict(module, return_predictions=False)
        except SystemExit:
            # Lightning turns Ctrl-C into an exit of its own; the run's message is ours to give.
            raise KeyboardInterrupt from None
        self.wait(stage.title)

    def wait(self, reason: str) -> None:
        """Return when all ranks have come here."""
        self.trainer.strategy.barrier(reason)
