"""The plan of a pass: which items are worked on together, decided before anything is decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may get; the smaller limit counts."""

    items: int
    """Clips or texts."""
    seconds: float
    """Audio that is heard."""


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
