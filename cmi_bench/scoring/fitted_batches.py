"""Batches that shrink to what fits into memory: what did not fit once is not tried again in this process."""

import logging
import math
import sys
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from cmi_bench.models.memory import is_out_of_memory, release_memory
from cmi_bench.scoring.batching import BatchLimits, bisect

log = logging.getLogger(__name__)

Item = TypeVar("Item")

ANY = BatchLimits(sys.maxsize, math.inf)


class FittedBatches(Generic[Item]):
    """Work on batches within limits, which are halved where memory ends."""

    def __init__(self, name: str, seconds: Callable[[Item], float], *, limits: BatchLimits = ANY) -> None:
        """Take what it is about.

        Args:
            name: What does the work, for messages.
            seconds: Returns an item's seconds of audio.
            limits: To begin with.
        """
        self.name = name
        self.limits = limits
        self.times_out_of_memory = 0
        self._seconds = seconds
        self._did_not_fit = False
        """Whether that is so of the last attempt."""

    def work(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], None], *, blame: Callable[[Item, str], None]
    ) -> None:
        """Do the work on parts of a batch that are within the limits; what fails is bisected.

        Args:
            items: The batch.
            work: See `bisect`, also for what is raised.
            blame: Called with an item that fails alone, and the reason.
        """

        def watched(part: Sequence[Item]) -> None:
            if self._did_not_fit:  # not earlier: the error's traceback would keep the tensors of the failed attempt
                self._did_not_fit = False
                release_memory()
            try:
                work(part)
            except Exception as error:
                if is_out_of_memory(error):
                    self._shrink(part)
                raise

        start = 0
        while start < len(items):
            part = items[start : start + self._count(items[start:])]
            bisect(part, watched, blame=blame)
            start += len(part)

    def _count(self, items: Sequence[Item]) -> int:
        """Return how many items, from the first, are within the limits; at least one."""
        seconds = 0.0
        for count, item in enumerate(items):
            seconds += self._seconds(item)
            if count and (count >= self.limits.items or seconds > self.limits.seconds):
                return count
        return len(items)

    def _shrink(self, part: Sequence[Item]) -> None:
        """Take no more at once, from now on, than half of what did not fit."""
        self.times_out_of_memory += 1
        self._did_not_fit = True
        if len(part) == 1:
            return
        seconds = sum(map(self._seconds, part))
        self.limits = BatchLimits(min(self.limits.items, len(part) // 2), min(self.limits.seconds, seconds / 2))
        log.warning(
            "%s: %d together did not fit into memory; from now on at most %d.", self.name, len(part), self.limits.items
        )
