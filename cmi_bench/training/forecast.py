"""What filling the cache will come to: size on disk and time, told as soon as the first embeddings say so."""

import logging
import shutil
import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.filesize import decimal
from torch import Tensor

from cmi_bench.scoring.embedding_cache import GIGABYTE, EmbeddingCache
from cmi_bench.scoring.embedding_items import AudioItem
from cmi_bench.utils.console import describe_time

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""Of work that takes less, nobody needs to know how long it takes."""


SHORTEST = 1e-3
"""Seconds of a batch, at least: a header may say 0 of what can be decoded."""


class Forecast:
    """Says once, while audio is encoded, what it will come to."""

    def __init__(self, items: Sequence[AudioItem], cache: EmbeddingCache, *, processes: int, max_gb: float) -> None:
        """Take what there is to do.

        Args:
            items: All that is to be encoded.
            cache: Where its embeddings are kept.
            processes: How many share the work.
            max_gb: What runs that score prune the cache to, in 10^9 bytes.
        """
        self.items = items
        self.cache = cache
        self.processes = processes
        self.max_gb = max_gb
        self._batches: list[_Batch] = []
        self._began = time.perf_counter()
        self._is_said = False

    def note(self, items: Sequence[AudioItem], size: int) -> None:
        """Take note that a batch is done, and say what follows from it.

        Args:
            items: The batch.
            size: Bytes that were written of it.
        """
        if not size or self._is_said:
            return
        seconds = max(sum(item.seconds for item in items), SHORTEST)
        self._batches.append(_Batch(len(items), seconds, size, time.perf_counter()))
        whole = self._whole_size(items)
        if len(self._batches) == 1:
            self._warn(whole)
        left = self._seconds_left()
        if left >= 1 and self._batches[-1].ended - self._began >= PATIENCE_SECONDS:
            self._is_said = True
            log.info(
                "All audio that is to be encoded takes about %s (%s has %s free); about %s are left.",
                decimal(int(whole)), self.cache.folder, decimal(self._free()), describe_time(left),
            )  # fmt: skip

    def _whole_size(self, examples: Sequence[AudioItem]) -> float:
        """Return the bytes of all that is to be encoded."""
        files, seconds, size = (sum(column) for column in zip(*(batch[:3] for batch in self._batches), strict=True))
        if all(map(self._is_one_vector, examples)):
            return size / files * len(self.items)
        return size / seconds * sum(item.seconds for item in self.items)

    def _is_one_vector(self, item: AudioItem) -> bool:
        """Whether an embedding does not grow with its audio."""
        tensors: Sequence[Tensor] = self.cache.get(item.key) or ()
        return len(tensors) == 1 and len(tensors[0]) == 1

    def _seconds_left(self) -> float:
        """Return how long the rest takes at the speed so far."""
        first, *others = self._batches
        # The first batch also loads and warms up what computes.
        seconds = sum(batch.seconds for batch in others or [first])
        speed = self.processes * seconds / (self._batches[-1].ended - (first.ended if others else self._began))
        done = self.processes * sum(batch.seconds for batch in self._batches)
        return max(sum(item.seconds for item in self.items) - done, 0.0) / speed

    def _warn(self, whole: float) -> None:
        written = self._batches[0].size
        if whole - written > self._free():
            log.warning(
                "All audio that is to be encoded takes about %s, and %s has %s free. Make room, or set cache.dir to"
                " another disk; what is embedded by then is kept.",
                decimal(int(whole)), self.cache.folder, decimal(self._free()),
            )  # fmt: skip
        then = self.cache.size().bytes - written + whole
        if then > self.max_gb * GIGABYTE:
            log.warning(
                "The cache will hold about %s, and cache.max_gb=%g: the next run that scores would remove what was not"
                " used for longest. Raise cache.max_gb for it.", decimal(int(then)), self.max_gb,
            )  # fmt: skip

    def _free(self) -> int:
        return shutil.disk_usage(self.cache.folder).free


class _Batch(NamedTuple):
    """What is known of a batch that is done."""

    files: int
    seconds: float
    size: int
    ended: float
