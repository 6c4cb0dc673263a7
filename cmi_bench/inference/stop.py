"""`on_error=fail`: stop all processes at the first item that failed, keeping what is done."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cmi_bench.inference.failures import STOPPED
from cmi_bench.inference.stage import StepOutcome


class StopOnFailure(Callback):
    """Ends the predict loop of every rank once any item of any rank has failed.

    The loop ends in good order rather than by an exception: a rank that dies would make Lightning
    kill the others, and with them the message that says which clip it was.
    """

    def __init__(self, folder: Path) -> None:
        self.marker = folder / STOPPED

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: StepOutcome,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Tell all ranks when something failed."""
        if outputs.failed:
            self.marker.touch()

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Leave the loop: Lightning's predict loop ends on StopIteration from any of its hooks."""
        if self.marker.exists():
            raise StopIteration
