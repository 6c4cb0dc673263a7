"""The Lightning callback by which a tracker follows a run."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cmi_bench.tracking.tracker import RunOutcome, Tracker

if TYPE_CHECKING:
    from typing import Self

PROGRESS_SECONDS = 15.0
"""How often the count of scored clips is sent while the run goes on."""


class TrackingCallback(Callback):
    """Has a tracker open its run when prediction starts, follow it, and close it as FINISHED, FAILED or KILLED.

    Only rank 0 records. Use it as a context manager around the whole run, so that a failure in any part of it, not
    only in Lightning's loop, is recorded as such.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.done = 0
        self.last_sent = 0.0
        self.sent = False

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tracker.close("FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED")

    def record(self, outcome: RunOutcome) -> None:
        """Record what the run came to, also where all scores were stored before and Lightning had nothing to do."""
        self.tracker.record(outcome)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the run."""
        if trainer.is_global_zero:
            self.tracker.start()
        self.last_sent = time.monotonic()  # a short run has no progress to show

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the last count, if one was sent before."""
        if self.sent:
            self.tracker.progress(self.done)

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
        if trainer.is_global_zero and time.monotonic() - self.last_sent > PROGRESS_SECONDS:
            self.tracker.progress(self.done)
            self.last_sent, self.sent = time.monotonic(), True
