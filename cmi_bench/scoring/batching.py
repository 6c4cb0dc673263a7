"""How work is cut into batches, what a stage of work is, and what runs one; nothing here imports torch or Lightning.

Batches are planned before anything is decoded (`plan_batches`). A batch that fails is bisected until the item to blame
is found (`bisect`). A `Stage` says what there is to do and does it, a `Runner` drives it: Lightning's predict loop in a
run of the benchmark, a plain loop for a few songs. Each part of a batch that is done goes to a `ScoreWriter` at once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cmi_bench.errors import RunError, UserError
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.types import Score

log = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may get; the smaller limit counts."""

    items: int
    """Clips or texts."""
    seconds: float
    """Audio that is decoded."""


def plan_batches(
    items: Sequence[Item],
    limits: BatchLimits,
    *,
    length: Callable[[Item], float],
    start: float = 0.0,
    at_least: int = 1,
) -> list[list[Item]]:
    """Group items of near lengths, the longest first.

    Longest first, because whatever does not fit into memory should show at once, and because the
    last batches, which ranks finish at different times, are then the short ones.

    Batches are planned up front, each one item of the data loader: Lightning re-makes batch samplers
    when it shards a loader over devices, but leaves planned batches as they are.

    Args:
        items: What there is to do.
        limits: A single item may be longer than the limit; then it is alone.
        length: An item's length, in the unit of `limits.seconds`.
        start: Where to begin, from 0 to 1; the batches before come at the end.
        at_least: Number of ranks; Lightning fails on a rank without batches, so empty ones are added.

    Returns:
        The batches; the same whatever the order of `items`, but for items of equal length.
    """
    batches: list[list[Item]] = []
    filled = 0.0
    for item in sorted(items, key=length, reverse=True):
        if not batches or len(batches[-1]) >= limits.items or filled + length(item) > limits.seconds:
            batches.append([])
            filled = 0.0
        batches[-1].append(item)
        filled += length(item)
    first = int(start * len(batches))
    return batches[first:] + batches[:first] + [[] for _ in range(at_least - len(batches))]


def bisect(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], None],
    *,
    blame: Callable[[Item, str], None],
) -> None:
    """Do the work on all items at once; if that raises, on each half, down to the item that fails alone.

    So a batch that is too large for the device's memory is halved until it fits, and a broken clip
    costs no other clip its score.

    Args:
        items: What to work on.
        work: Raises if it cannot; must be safe to repeat on parts.
        blame: Called with an item that fails alone, and the reason.

    Raises:
        RunError: Passed on from `work`.
    """
    if not items:
        return
    try:
        work(items)
        return
    except RunError:
        raise
    except Exception as error:  # whatever a model raises is its failure on these items
        log.debug("%d items together failed", len(items), exc_info=True)
        reason = _reason(error)
    # Outside of the handler: its traceback would keep the tensors of the failed attempt in memory.
    if len(items) == 1:
        blame(items[0], reason)
        return
    middle = len(items) // 2
    for half in (items[:middle], items[middle:]):
        bisect(half, work, blame=blame)


def _reason(error: Exception) -> str:
    return error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


class ScoreWriter(Protocol):
    """Takes scores and failures as they are made."""

    def write(self, scores: Mapping[str, Score]) -> None:
        """Keep scores by the key of their request; of what could not be scored or encoded, by its key, the reason."""

    @property
    def stopped(self) -> bool:
        """Whether an item has failed, in any process, and the run is to stop at that."""


LoadedT = TypeVar("LoadedT")


class Stage(Protocol[Item, LoadedT]):
    """One kind of work: what there is to do, how it is loaded, and what is done with it."""

    title: str
    """For the progress bar."""
    start: float
    """Where in the plan to begin, from 0 to 1; what is before comes at the end."""
    decodes: bool
    """Whether a batch is decoded when it is loaded, and not only read: that takes long, and may end its process."""

    @property
    def stats(self) -> RunStats:
        """What takes the time of the work, and that of waiting for it to be loaded."""

    @property
    def load(self) -> Callable[[Sequence[Item]], LoadedT]:
        """What decodes or reads a batch; goes to the data loader's workers, so without the model."""

    def pending(self) -> list[Item]:
        """Return what is to be done; asked on rank 0 only."""

    def length(self, item: Item) -> float:
        """Return an item's length in seconds of audio; asked on rank 0 only."""

    def work(self, loaded: LoadedT, writer: ScoreWriter) -> None:
        """Do the work on a batch, and write each part of it that is done."""


class Runner(Protocol):
    """Does the work of stages, one after the other."""

    @property
    def processes(self) -> int:
        """How many share the work."""

    def run(self, stage: Stage[Any, Any], writer: ScoreWriter, *, limits: BatchLimits | None = None) -> None:
        """Do all of a stage's work; returns in all processes when it is done in all.

        Args:
            stage: The work.
            writer: Takes scores and failures.
            limits: How large this stage's batches may get, where that is not the runner's to say.
        """

    def wait(self, reason: str) -> None:
        """Return when all processes have come here; `reason` is for those who look why one does not."""
