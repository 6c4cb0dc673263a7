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
    """Has a tracker open its run at the first scores, follow it, and close it as FINISHED, FAILED or KILLED.

    The first scores are kept before: importing MLflow takes seconds, and a store may be slow. A run that fails before
    is opened to be closed; one that the user stops before is not.

    Only rank 0 records. Use it as a context manager around the whole run, so that a failure in any part of it, not
    only in Lightning's loop, is recorded as such.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.is_predicting = False
        """Whether there is a run to record by now."""
        self.done = 0
        self.last_sent = 0.0
        self.sent = False

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_predicting and kind is not None and kind is not KeyboardInterrupt:
            self.tracker.start()
        self.tracker.close("FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED")

    def record(self, outcome: RunOutcome) -> None:
        """Record what the run came to, also where all scores were stored before and Lightning had nothing to do."""
        self.tracker.record(outcome)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the work begins."""
        self.is_predicting = trainer.is_global_zero
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
        """Open the run at the first batch; count the clips on all ranks, and send the count now and then."""
        if trainer.is_global_zero:
            self.tracker.start()
        items, _ = batch
        self.done += items * trainer.world_size
        if trainer.is_global_zero and time.monotonic() - self.last_sent > PROGRESS_SECONDS:
            self.tracker.progress(self.done)
            self.last_sent, self.sent = time.monotonic(), True
