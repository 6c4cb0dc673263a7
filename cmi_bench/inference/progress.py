"""The progress bar of a stage: clips done, clips per second, time left."""

import sys
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from cmi_bench.inference.stage import StageModule, StepOutcome

REDRAW_SECONDS = 0.1
REDRAW_SECONDS_IN_A_LOG = 15.0
"""A bar that is not on a terminal (a batch job's log) is drawn this seldom."""


class StageProgress(Callback):
    """Counts in clips, not batches, on rank 0: the number a user waits for."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show an empty bar."""
        assert isinstance(pl_module, StageModule)
        self.bar = tqdm(
            total=pl_module.total,
            unit="clip",
            desc=pl_module.stage.title,
            disable=not trainer.is_global_zero or not pl_module.total,
            mininterval=REDRAW_SECONDS if sys.stderr.isatty() else REDRAW_SECONDS_IN_A_LOG,
            dynamic_ncols=True,
        )

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: StepOutcome,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Advance by this batch on every rank: they run at about the same pace."""
        assert self.bar.total is not None
        self.bar.update(min(outputs.items * trainer.world_size, self.bar.total - self.bar.n))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self.bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back before the message is printed."""
        if hasattr(self, "bar"):
            self.bar.close()
