"""Stages in Lightning's predict loop: batches planned on rank 0, loaded in workers, worked on in every rank.

The only module of the package that needs Lightning to score.
"""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import hydra
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from cmi_bench.scoring.batching import BatchLimits, ScoreWriter, Stage, plan_batches
from cmi_bench.utils.console import ProgressBar
from cmi_bench.utils.distributed import Devices

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class _Batches(Dataset[tuple[int, Loaded]], Generic[Item, Loaded]):
    """Item i is batch i of the plan, loaded, with its number of items."""

    def __init__(self, plan: Sequence[Sequence[Item]], load: Callable[[Sequence[Item]], Loaded]) -> None:
        self.plan = plan
        self.load = load

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> tuple[int, Loaded]:
        return len(self.plan[index]), self.load(self.plan[index])


class StageModule(LightningModule, Generic[Item, Loaded]):
    """Runs a stage in Lightning's predict loop.

    The model is no submodule: adapters may be anything (a network, an API client), and were built on
    this process's device already.
    """

    def __init__(self, stage: Stage[Item, Loaded], writer: ScoreWriter, limits: BatchLimits, *, workers: int) -> None:
        super().__init__()
        self.stage = stage
        self.writer = writer
        self.limits = limits
        self.workers = workers
        self.total = 0

    def predict_dataloader(self) -> "DataLoader[tuple[int, Loaded]]":
        """Plan the batches: on rank 0, which tells the others, as stores may change while ranks start."""
        plan = self.trainer.strategy.broadcast(self._plan() if self.trainer.is_global_zero else [])
        self.total = sum(map(len, plan))
        return DataLoader(_Batches(plan, self.stage.load), batch_size=None, num_workers=min(self.workers, self.total))

    def _plan(self) -> list[list[Item]]:
        pending, ranks = self.stage.pending(), self.trainer.world_size
        return plan_batches(pending, self.limits, length=self.stage.length, start=self.stage.start, at_least=ranks)

    def predict_step(self, batch: tuple[int, Loaded], batch_idx: int) -> int:
        """Work on one batch, and return its number of items."""
        items, loaded = batch
        self.stage.work(loaded, self.writer)
        return items

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave the batch where it is: what goes to the device, and when, is the model's business."""
        return batch

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """End the loop of every rank once the writer says so.

        It ends in good order (Lightning's predict loop does on StopIteration from any of its hooks) rather than by an
        exception: a rank that dies would make Lightning kill the others, and with them the message that says which
        clip it was.
        """
        if self.writer.stopped:
            raise StopIteration


class StageProgress(Callback):
    """Counts in clips, not batches, on rank 0: the number a user waits for."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show an empty bar."""
        assert isinstance(pl_module, StageModule)
        total = pl_module.total if trainer.is_global_zero else 0
        self.bar = ProgressBar(pl_module.stage.title, total, unit="clip", patience=0)  # a first batch can take a minute

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: int,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Advance by this batch on every rank: they run at about the same pace."""
        self.bar.advance(outputs * trainer.world_size)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self.bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back before the message is printed."""
        if hasattr(self, "bar"):
            self.bar.close()


NOISE = (
    ".*does not have many workers.*",  # more decoders than `workers` are not wanted: the model takes the time
    ".*LeafSpec.*is deprecated.*",  # between Lightning and torch
)
"""Lightning's warnings that say nothing to a user of the benchmark."""


class LightningRunner:
    """Runs stages one after the other, on all devices of the run."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        devices: Devices,
        *,
        limits: BatchLimits,
        workers: int,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Build Lightning's Trainer.

        Args:
            settings: `trainer.*` of the configuration, with its `_target_`.
            devices: Where.
            limits: How large batches may get.
            workers: Decoding processes per device.
            callbacks: Further Lightning callbacks (tracking).
        """
        self.limits = limits
        self.workers = workers
        chosen = {"accelerator": devices.accelerator, "devices": devices.selected}
        for name in ("lightning.pytorch", "lightning.fabric"):  # the metadata has the devices
            logging.getLogger(name).setLevel(logging.WARNING)
        self.trainer: Trainer = hydra.utils.instantiate(
            dict(settings) | chosen | {"callbacks": [StageProgress(), *callbacks]}
        )

    @property
    def processes(self) -> int:
        """How many share the work, one a device."""
        return self.trainer.world_size

    def run(self, stage: Stage[Any, Any], writer: ScoreWriter, *, limits: BatchLimits | None = None) -> None:
        """Do all of a stage's work; returns on all ranks when it is done on all.

        Args:
            stage: The work.
            writer: Takes scores and failures.
            limits: How large this stage's batches may get, where that is not the run's to say.

        Raises:
            KeyboardInterrupt: The user stopped the run.
        """
        module = StageModule(stage, writer, limits or self.limits, workers=self.workers)
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
