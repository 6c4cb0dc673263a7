"""What Lightning trains: a head and the objective, with their optimiser."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from cmi_bench.errors import RunError
from cmi_bench.models.heads import Head
from cmi_bench.scoring.trainer import start_workers
from cmi_bench.training.batches import Batch, PackedBatch, Share, TrainingBatches, ValidationBatches
from cmi_bench.training.objective import Objective
from cmi_bench.training_config import OptimizerConfig, Schedule
from cmi_bench.utils.files import content_key

TellStep = Callable[[int, Mapping[str, float]], None]
"""Takes the number of steps done and what the last one came to; called on rank 0."""


class DivergedError(RunError):
    """The loss or its gradient is no number any more, or has grown beyond all measure."""


class TrainingModule(LightningModule):
    """A head and the objective that it is trained by.

    The loss of a step is the same whatever parts it is worked on in: each part's share of the sum is divided by the
    weight of the whole step, and what Lightning divides by (parts and processes) is multiplied back.
    """

    def __init__(
        self,
        head: Head,
        objective: Objective,
        settings: OptimizerConfig,
        *,
        training: Callable[[Share], TrainingBatches],
        validation: Callable[[Share], ValidationBatches],
        steps: int,
        accumulate: int = 1,
        seed: int = 0,
        workers: int = 0,
        state_seconds: float = 0.0,
    ) -> None:
        """Take what is trained, and on what.

        Args:
            head: On the CPU; Lightning moves it.
            objective: Likewise; what it learns of its own is trained too.
            settings: Of the optimiser.
            training: Returns the batches of a process; it and the next are functions, as averaged weights are those of
                a copy of the module, which need not have the rows.
            validation: Likewise.
            steps: How many steps there will be.
            accumulate: Batches of a process that make a step.
            seed: Of dropout.
            workers: Processes that read embeddings.
            state_seconds: How old the last state is when another one is due.
        """
        super().__init__()
        self.head = head
        self.objective = objective
        self.settings = settings
        self.steps = steps
        self.share = Share(accumulate=accumulate)
        self.seed = seed
        self.workers = workers
        self._training = training
        self._validation = validation
        self.tell: TellStep = lambda step, values: None
        """Is told each step."""
        self._sum: Tensor | float = 0.0
        self.growth = Growth()
        self.seconds_waited = 0.0
        """How long training has waited for batches."""
        self.is_state_due = False
        """Whether the last state is so old that another one is to be written; the same in all processes."""
        self.validation_scores = torch.zeros(0, 2)
        """Of all clips of the rows that are set aside, in their order, those of this process; 0 elsewhere."""
        self._state_written = time.monotonic()
        self._state_seconds = state_seconds
        self._all_clips = 0
        self._clips_of: Callable[[int], Sequence[int]] = lambda number: []

    def train_dataloader(self) -> "OrderedLoader":
        """Return this process's batches, from the step on where the training stands."""
        self._take_share()
        start = self.trainer.global_step * self.share.accumulate
        return OrderedLoader(self._training(self.share), start=start, workers=self.workers, waited=self._waited)

    def val_dataloader(self) -> "OrderedLoader":
        """Return this process's share of the rows that are set aside."""
        self._take_share()
        batches = self._validation(self.share)
        self._clips_of = batches.clips_of
        self._all_clips = batches.all_clips
        return OrderedLoader(batches, workers=self.workers)

    def _take_share(self) -> None:
        self.share = Share(self.trainer.global_rank, self.trainer.world_size, self.share.accumulate)

    def _waited(self, seconds: float) -> None:
        self.seconds_waited += seconds

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Unpack a batch on the device."""
        return batch.on(device) if isinstance(batch, PackedBatch) else batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a part of a step, times the number of parts."""
        # What dropout leaves out is a function of the batch, so that a training that is resumed goes on as it was.
        torch.manual_seed(_seed(self.seed, batch.number, self.share.rank))
        scores = self.head(batch.clips, batch.dropped) if batch.clips else torch.zeros(0, 2, device=self.device)
        loss = self.objective(scores.float(), batch.labels).loss
        self._sum = self._sum + loss.detach()
        # Each parameter takes part in each step, whatever inputs its rows lack: processes wait for all gradients.
        learnt = [one for one in self.head.parameters() if one.requires_grad and one.numel()]
        all_of_them = torch.stack([one.reshape(-1)[0] for one in learnt])
        of_part: Tensor = (loss + all_of_them.float().sum() * 0.0) * self.share.parts
        return of_part

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient, and look at the step before it is taken.

        Raises:
            DivergedError: The gradient or the loss is no number, or the loss has grown beyond all measure.
        """
        step = self.trainer.global_step + 1
        norm = float(get_total_norm([one.grad for one in self.parameters() if one.grad is not None]))
        loss, wants_state = self._over_processes(float(self._sum), self._wants_state())
        self._sum = 0.0
        self.is_state_due = self.is_state_due or wants_state > 0
        if not math.isfinite(norm) or not math.isfinite(loss):
            what = f"the loss is {loss:g}" if not math.isfinite(loss) else f"the gradient's norm is {norm:g}"
            raise self._diverged(step, what)
        if (times := self.growth.after(loss)) is not None:
            raise self._diverged(step, f"the loss is on average {times:.3g} times what it was in the first step")
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if self.trainer.is_global_zero:
            rate = optimizer.param_groups[0]["lr"]
            self.tell(step, {"train/loss": loss, "train/gradient norm": norm, "train/learning rate": rate})

    def on_validation_epoch_start(self) -> None:
        """Begin with no score."""
        self.validation_scores = torch.zeros(self._all_clips, 2, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score rows that are set aside."""
        self.validation_scores[self._clips_of(batch.number)] = self.head(batch.clips).float()

    def _over_processes(self, *values: float) -> list[float]:
        """Return sums over all processes."""
        sums = self.trainer.strategy.reduce(torch.tensor(values, device=self.device), reduce_op="sum")
        assert isinstance(sums, Tensor)
        return [float(one) for one in sums]

    def _wants_state(self) -> bool:
        is_old = time.monotonic() - self._state_written >= self._state_seconds
        return is_old and self.trainer.is_global_zero

    def state_written(self) -> None:
        """Take note that a state was written to go on from."""
        self.is_state_due = False
        self._state_written = time.monotonic()

    def _diverged(self, step: int, what: str) -> DivergedError:
        return DivergedError(
            f"Training diverged in step {step}: {what}.",
            f"Use a lower learning rate (optimizer.lr={self.settings.lr / 10:g}, not {self.settings.lr:g}), a longer"
            f" warm-up (optimizer.warmup_steps), or a gradient clipped harder (optimizer.clip).",
        )

    def configure_optimizers(self) -> Any:
        """Return AdamW, with weight decay for matrices only, and the schedule of its learning rate."""
        matrices, others = split_parameters(self.head)
        groups = [
            {"params": matrices, "weight_decay": self.settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
            {"params": list(self.objective.parameters()), "weight_decay": 0.0, "lr": self.objective.config.lr},
        ]
        first, second = self.settings.betas
        optimizer = AdamW([one for one in groups if one["params"]], lr=self.settings.lr, betas=(first, second))
        scheduler = LambdaLR(optimizer, lambda step: rate_share(self.settings, step, steps=self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the next step looks back on."""
        checkpoint["growth"] = self.growth.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        self.growth = Growth(**checkpoint["growth"])


class Growth:
    """Watches whether the loss, averaged over the last steps, grows beyond what it was in the first."""

    STEPS = 20
    """Over about as many goes the average, which is exponential."""
    MOST = 20.0
    """Times the first; a loss begins near the logarithm of the number of answers, or at the scale's squared error."""

    def __init__(self, first: float | None = None, recent: float = 0.0) -> None:
        self.first = first
        self.recent = recent

    def state(self) -> dict[str, Any]:
        """Return what makes another one that goes on from here."""
        return {"first": self.first, "recent": self.recent}

    def after(self, loss: float) -> float | None:
        """Take the next step's loss; return how many times the first it is on average, where that is too much."""
        if self.first is None:
            self.first = self.recent = loss
        self.recent += (loss - self.recent) / self.STEPS
        grown = self.recent / self.first if self.first > 0 else 0.0
        return grown if grown > self.MOST else None


def split_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that are trained: weights of two dimensions or more, and others (gains, biases, ...)."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim >= 2 and name.endswith("weight")
            (matrices if is_matrix else others).append(parameter)
    return matrices, others


def rate_share(settings: OptimizerConfig, step: int, *, steps: int) -> float:
    """Return the share of the learning rate that a step has.

    It rises evenly over the warm-up, of whose last step it is 1, and falls as the schedule says until the last step.

    Args:
        settings: Of the optimiser.
        step: From 0.
        steps: How many there are.
    """
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    done = min((step - settings.warmup_steps) / max(steps - settings.warmup_steps, 1), 1.0)
    fall = {
        Schedule.constant: 0.0,
        Schedule.linear: done,
        Schedule.cosine: (1.0 - math.cos(math.pi * done)) / 2.0,
    }[settings.schedule]
    return 1.0 - (1.0 - settings.final_share) * fall


def _seed(*numbers: int) -> int:
    return int(content_key(dropout=list(numbers))[:15], 16)


class OrderedLoader:
    """Batches in their order, read ahead in worker processes, from any of them on."""

    def __init__(
        self,
        batches: TrainingBatches | ValidationBatches,
        *,
        start: int = 0,
        workers: int = 0,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Say where to begin.

        Args:
            batches: All of this process.
            start: The first that is still to be worked on.
            workers: Processes that read, and stay for the next round; 0 reads here, when a batch is asked for.
            waited: Is told how long each batch was waited for, in seconds.
        """
        self.batches = batches
        self.waited = waited
        order = range(start, len(batches))
        self._loader: Iterable[PackedBatch] = (
            DataLoader(batches, batch_size=None, sampler=order, num_workers=workers, persistent_workers=True)
            if workers
            else _Here(batches, order)
        )

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[PackedBatch]:
        loaded = start_workers(self._loader) if isinstance(self._loader, DataLoader) else iter(self._loader)
        while True:
            asked = time.perf_counter()
            batch = next(loaded, None)
            self.waited(time.perf_counter() - asked)
            if batch is None:
                return
            yield batch

    # Lightning's names: with them it knows that the batches go on where the training stands, as `start` says.
    def state_dict(self) -> dict[str, Any]:
        """Return nothing: what comes next follows from the number of steps."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take nothing."""


class _Here:
    def __init__(self, batches: TrainingBatches | ValidationBatches, order: Sequence[int]) -> None:
        self.batches = batches
        self.order = order

    def __iter__(self) -> Iterator[PackedBatch]:
        return (self.batches[number] for number in self.order)
