"""The progress bar of a stage: clips done, clips per second, time left."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from cmi_bench.data.progress import bar_settings
from cmi_bench.inference.stage import StageModule, StepOutcome


class StageProgress(Callback):
    """Counts in clips, not batches, on rank 0: the number a user waits for."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show an empty bar."""
        assert isinstance(pl_module, StageModule)
        self.bar = tqdm(
            total=pl_module.total,
            unit="clip",
            disable=not trainer.is_global_zero or not pl_module.total,
            **bar_settings(pl_module.stage.title) | {"delay": 0},  # a first batch can take a minute
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
