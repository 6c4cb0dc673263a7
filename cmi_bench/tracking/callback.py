"""The Lightning callback that records a run in MLflow while it scores."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.mlflow import MLflowRun, RunDescription

PROGRESS_SECONDS = 15.0
"""How often the count of scored clips is sent while the run goes on."""


class MLflowCallback(MLflowRun, Callback):
    """Opens an MLflow run when prediction starts, follows it, and closes it as FINISHED or FAILED.

    Only rank 0 records. Use it as a context manager around the whole run, so that a failure in any
    part of it, not only in Lightning's loop, is recorded as such.
    """

    def __init__(self, settings: TrackingConfig, description: RunDescription) -> None:
        super().__init__(settings, description)
        self.done = 0
        self.last_sent = 0.0
        self.sent = False

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the MLflow run."""
        if trainer.is_global_zero:
            self.start()
        self.last_sent = time.monotonic()  # a short run has no progress to show

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the last count, if one was sent before."""
        if self.sent:
            self.log_metrics({"items_done": self.done})

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the clips of the batch on all ranks, and send the count now and then."""
        items, _ = batch
        self.done += items * trainer.world_size
        if time.monotonic() - self.last_sent > PROGRESS_SECONDS:
            self.log_metrics({"items_done": self.done})
            self.last_sent, self.sent = time.monotonic(), True
