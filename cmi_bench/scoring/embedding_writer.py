"""Embeddings on their way to the cache: what a GPU computes is stored beside what it computes next.

What the CPU computes is stored at once: that takes a two-thousandth of the time of encoding it. A GPU encodes a clip in
less than storing it takes, so that it would wait for most of its time.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import NamedTuple

from torch import Tensor

from cmi_bench.models.transfers import fetch
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.utils.files import writing_to

THREADS = 4
"""That store what a GPU has computed: each stores some 100 clips of 30 s a second, and takes a processor for that."""
INSTEAD = "set cache.dir to another disk"
"""What to do where the disk is full."""


class _Pending(NamedTuple):
    """What is being stored."""

    arriving: Sequence[Callable[[], list[Tensor]]]
    """Of each entry, what waits until the GPU has computed it."""
    written: Sequence[Future[int]]
    """Of each entry, its bytes."""


class EmbeddingWriter:
    """Stores embeddings in a cache: of one batch at a time, while another is computed."""

    def __init__(self, cache: EmbeddingCache, stats: RunStats) -> None:
        """Take what is needed.

        Args:
            cache: Where they go.
            stats: Takes the bytes that are stored, and the time that is waited for that.
        """
        self.cache = cache
        self.stats = stats
        self._pool: ThreadPoolExecutor | None = None
        self._batch: _Pending | None = None

    def store(self, entries: Mapping[str, Sequence[Tensor]]) -> None:
        """Store a batch; of tensors on a GPU only begin with it, when the batch before is stored.

        Args:
            entries: Tensors by the key of their entry.

        Raises:
            RunError: This batch, or the one before, cannot be stored: the disk is full.
        """
        arriving = {key: fetch(tensors) for key, tensors in entries.items()}
        self.wait()
        if not is_on_gpu(entries):
            with self.stats.timed("write"), writing_to(self.cache.folder, instead=INSTEAD):
                for key, arrive in arriving.items():
                    self.stats.counts["bytes_stored"] += self.cache.put(key, arrive())
            return
        pool = self._pool = self._pool or ThreadPoolExecutor(THREADS, "storing")
        written = [pool.submit(self._put, key, arrive) for key, arrive in arriving.items()]
        self._batch = _Pending(list(arriving.values()), written)

    def wait(self) -> None:
        """Return when all is stored.

        Raises:
            RunError: Something cannot be stored.
        """
        batch, self._batch = self._batch, None
        if batch is None:
            return
        with self.stats.timed("encode"):  # the rest of it
            for arrive in batch.arriving:
                arrive()
        with self.stats.timed("write"), writing_to(self.cache.folder, instead=INSTEAD):
            wait_for(batch.written)
            for one in batch.written:
                self.stats.counts["bytes_stored"] += one.result()

    def check(self) -> None:
        """Raise what is known to have gone wrong, before more is computed; waits for nothing.

        Raises:
            RunError: Something cannot be stored.
        """
        if self._batch and any(one.done() and one.exception() for one in self._batch.written):
            self.wait()

    def close(self) -> None:
        """Let what was begun be stored, also where the run ends early."""
        if self._pool:
            self._pool.shutdown()
            self._pool = None

    def _put(self, key: str, arrive: Callable[[], list[Tensor]]) -> int:
        return self.cache.put(key, arrive())


def is_on_gpu(entries: Mapping[str, Sequence[Tensor]]) -> bool:
    """Whether a GPU has, or is about to compute, one of the tensors."""
    return any(tensor.device.type == "cuda" for tensors in entries.values() for tensor in tensors)
