"""A pass over items with Lightning's predict loop: planned on rank 0, loaded in workers, worked on in every rank."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, Dataset

from cmi_bench.inference.plan import BatchLimits, plan_batches

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class StepOutcome(NamedTuple):
    """What a batch came to, for the progress bar and for `on_error=fail`."""

    items: int
    failed: int


class Stage(Protocol[Item, Loaded]):
    """One kind of work: what there is to do, how it is loaded, and what is done with it."""

    title: str
    """For the progress bar."""
    start: float
    """Where in the plan to begin, from 0 to 1; what is before comes at the end."""

    @property
    def load(self) -> Callable[[Sequence[Item]], Loaded]:
        """What decodes or reads a batch; goes to the data loader's workers, so without the model."""

    def pending(self) -> list[Item]:
        """Return what is to be done; asked on rank 0 only."""

    def length(self, item: Item) -> float:
        """Return an item's length in seconds of audio; asked on rank 0 only."""

    def work(self, loaded: Loaded) -> int:
        """Do the work and keep its results; return how many items failed."""


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

    def __init__(self, stage: Stage[Item, Loaded], limits: BatchLimits, *, workers: int) -> None:
        super().__init__()
        self.stage = stage
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

    def predict_step(self, batch: tuple[int, Loaded], batch_idx: int) -> StepOutcome:
        """Work on one batch; its results are kept when this returns."""
        items, loaded = batch
        return StepOutcome(items, self.stage.work(loaded))

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave the batch where it is: what goes to the device, and when, is the model's business."""
        return batch
