"""The loop: Lightning's `fit` with validation, checkpoints, a state to go on from, and curves in `history.jsonl`."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from cmi_bench.config import HeadPrecision
from cmi_bench.models.batching import check_device, checked_precision
from cmi_bench.scoring.trainer import configured_trainer, interruptible, without_noise
from cmi_bench.training.history import History, TellCurves
from cmi_bench.training.kept import KeptCheckpoints
from cmi_bench.training.module import DivergedError, TrainingModule
from cmi_bench.training.state import FINISHED, StateFiles, last_state, state_file, step_of, write_finished
from cmi_bench.training.validation import Validated, Validation
from cmi_bench.training_config import TrainConfig
from cmi_bench.utils.console import ProgressBar
from cmi_bench.utils.distributed import Devices

log = logging.getLogger(__name__)


class ValidationCallback(Callback):
    """Validates with what Lightning's loop has scored: figures, curves, checkpoints, and when to end early."""

    def __init__(self, validation: Validation, kept: KeptCheckpoints, history: History, settings: TrainConfig) -> None:
        self.validation = validation
        self.kept = kept
        self.history = history
        self.settings = settings
        self.before: Validated | None = None
        """What the weights come to that training begins with; on rank 0."""
        self.best_scores = torch.zeros(0, 2)
        """Of all clips, by the best weights; on rank 0."""
        self.stopped_early = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After the last step, have Lightning validate before it ends, whatever number that is."""
        if trainer.global_step >= self.settings.max_steps:
            trainer.should_stop = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure; the weights are still those that were scored, averaged ones among them."""
        assert isinstance(pl_module, TrainingModule)
        scores = trainer.strategy.reduce(pl_module.validation_scores, reduce_op="sum")
        assert isinstance(scores, Tensor)
        stops = False
        if trainer.is_global_zero:
            validated = self.validation.measure(scores)
            if trainer.state.fn == TrainerFn.FITTING:
                stops = self._keep(trainer.global_step, validated, scores)
            else:
                self.before = validated
        if trainer.strategy.broadcast(stops):
            trainer.should_stop = self.stopped_early = True

    def _keep(self, step: int, validated: Validated, scores: Tensor) -> bool:
        """Write what a validation came to; return whether training is to end."""
        self.history.add(step, validated.figures)
        if self.kept.add(step, validated.figures, validated.monitored):
            self.best_scores = scores.cpu()
        patience, best = self.settings.patience, self.kept.best
        return patience is not None and best is not None and step - best >= patience * self.settings.validate_every

    def state_dict(self) -> dict[str, Any]:
        """Return what is known of the checkpoints."""
        return {"kept": self.kept.state(), "best_scores": self.best_scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        self.kept.restore(state_dict["kept"])
        self.best_scores = state_dict["best_scores"]


class StateCallback(Callback):
    """Writes the state to go on from, when the last one is old enough."""

    def __init__(self, folder: Path, settings: TrainConfig) -> None:
        self.folder = folder
        self.settings = settings

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write after a step, unless its validation is still to come."""
        is_step_done = (batch_idx + 1) % self.settings.accumulate == 0
        if is_step_done and trainer.global_step % self.settings.validate_every:
            self._write(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after a validation."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.should_stop:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.is_state_due:
            trainer.save_checkpoint(state_file(self.folder, trainer.global_step))
            pl_module.state_written()


class StepProgress(Callback):
    """Counts steps on rank 0."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.bar: ProgressBar | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show an empty bar."""
        total = self.total if trainer.is_global_zero else 0
        self.bar = ProgressBar("training", total, unit="step", done=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step when it is done."""
        assert self.bar is not None
        self.bar.advance(trainer.global_step - self.bar.done)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back before the message is printed."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()


@dataclass(frozen=True)
class Fitted:
    """What a training came to."""

    steps: int
    """That were done, those before it was resumed among them."""
    stopped_early: bool
    best_scores: Tensor
    """float32 [C, 2] of the clips of the rows that are set aside, by the best weights; on rank 0."""
    resumed_from: int | None = None
    """The step that it went on from; None where it began."""
    seconds: float = 0.0
    """Of this part of the training, validation among them."""
    seconds_waited: float = 0.0
    """Of these, for batches to be read, by this process."""
    processes: int = 1


PRECISIONS: dict[HeadPrecision, Literal["32-true", "bf16-mixed"]] = {
    HeadPrecision["32"]: "32-true",
    HeadPrecision["bf16"]: "bf16-mixed",
}
"""Lightning's names for `train.precision`."""


SMALL_HEAD = 2_000_000
"""Parameters. With fewer a step's products are so small that threads wait for each other longer than they compute."""


@contextlib.contextmanager
def _threads_for(module: TrainingModule) -> Iterator[None]:
    """Train a small head with one thread of a CPU: its weights then do not depend on how many cores there are."""
    threads = torch.get_num_threads()
    if sum(one.numel() for one in module.head.parameters()) < SMALL_HEAD:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _trainer(
    trainer_settings: Mapping[str, Any],
    devices: Devices,
    settings: TrainConfig,
    *,
    clip: float,
    callbacks: Sequence[Callback],
) -> Trainer:
    """Return Lightning's Trainer for a training with these settings of the loop.

    Args:
        trainer_settings: `trainer.*` of the configuration, with its `_target_`.
        devices: Where.
        settings: Of the loop.
        clip: Largest norm of a gradient; 0 for any.
        callbacks: In the order in which they are called.
    """
    return configured_trainer(
        trainer_settings,
        devices,
        callbacks=callbacks,
        plugins=[StateFiles()],
        max_steps=settings.max_steps,
        accumulate_grad_batches=settings.accumulate,
        precision=PRECISIONS[settings.precision],
        gradient_clip_val=clip or None,
        val_check_interval=settings.validate_every * settings.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
    )


def fit(
    module: TrainingModule,
    validation: Validation,
    kept: KeptCheckpoints,
    settings: TrainConfig,
    *,
    folder: Path,
    trainer_settings: Mapping[str, Any],
    devices: Devices,
    tell: TellCurves = lambda step, values: None,
) -> Fitted:
    """Train until the last step, or until validation gets no better.

    Args:
        module: What is trained.
        validation: The rows that are set aside.
        kept: The checkpoints.
        settings: Of the loop.
        folder: The training's; what a state in it says is gone on from.
        trainer_settings: `trainer.*` of the configuration, with its `_target_`.
        devices: Where.
        tell: Is told each point of the curves.

    Raises:
        DivergedError: The loss, or its gradient, is no number or too large.
        RunError: The disk is full; what was written before is still there.
        KeyboardInterrupt: The user stopped the training.
    """
    history = History(folder, tell)
    module.tell = history.add
    validates = ValidationCallback(validation, kept, history, settings)
    averages = [] if settings.ema_decay is None else [EMAWeightAveraging(decay=settings.ema_decay)]
    # Validation comes first, while averaged weights are in their place; the state last, when all have had theirs.
    callbacks = [validates, *averages, StepProgress(settings.max_steps), StateCallback(folder, settings)]
    trainer = _trainer(trainer_settings, devices, settings, clip=module.settings.clip, callbacks=callbacks)
    if trainer.is_global_zero:
        device = trainer.strategy.root_device
        check_device(checked_precision(settings.precision.value), device, key="train.precision")
    started = time.monotonic()
    with interruptible(), without_noise(), _threads_for(module):
        trainer.validate(module, verbose=False)
        # Only now do processes know of each other: the first one says where to go on.
        state = trainer.strategy.broadcast(last_state(folder) if trainer.is_global_zero else None)
        if state is not None and state.name == FINISHED:
            return _finished(state, kept)
        if trainer.is_global_zero:
            history.begin(0 if state is None else step_of(state))
            if state is not None:
                log.info("Going on after step %d.", step_of(state))
            elif validates.before is not None:
                history.add(0, validates.before.figures)
        try:
            trainer.fit(module, ckpt_path=state)
        except SystemExit:  # Lightning's word for Ctrl-C
            if trainer.is_global_zero and (last := last_state(folder)) is not None:
                log.info("The same command goes on after step %d.", step_of(last))
            raise
        except DivergedError as error:
            raise DivergedError(error.what, f"{error.hint} {kept.describe_best()}") from error
    if trainer.is_global_zero:
        outcome = {"steps": trainer.global_step, "stopped_early": validates.stopped_early}
        write_finished(folder, outcome | validates.state_dict())
    return Fitted(
        steps=trainer.global_step,
        stopped_early=validates.stopped_early,
        best_scores=validates.best_scores,
        resumed_from=None if state is None else step_of(state),
        seconds=time.monotonic() - started,
        seconds_waited=module.seconds_waited,
        processes=trainer.world_size,
    )


def _finished(state: Path, kept: KeptCheckpoints) -> Fitted:
    """Return what a training came to that is finished already."""
    outcome = StateFiles().load_checkpoint(state)
    kept.restore(outcome["kept"])
    steps, stopped_early = outcome["steps"], outcome["stopped_early"]
    return Fitted(steps, stopped_early, outcome["best_scores"], resumed_from=steps)
