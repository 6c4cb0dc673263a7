"""A compiled network over batches of a few fixed shapes, on CUDA as graphs that are recorded once and replayed.

Chunks of one length make up nearly all of the work. Their batches are filled up to powers of two, so that shapes are
few; chunks of other lengths (the ends of clips) go through the network as it is.
"""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from cmi_bench.utils.command import without_collection

Compute = Callable[[Tensor], Tensor]
"""Maps [batch, ...] to [batch, ...]; what comes of one row does not depend on the others."""

FEWEST_ROWS = 2
"""The compiler makes a version of its own for one row."""
WARM_UPS = 2
"""Runs before a graph is recorded: the compiler's own, and the libraries' choice of kernels."""


class StaticBatches:
    """A network that is compiled for inputs of one length."""

    def __init__(
        self, plain: Compute, compiled: Compute, *, length: int, fixed: Callable[[Compute, Tensor], Compute]
    ) -> None:
        """Take both forms of the network.

        Args:
            plain: For other lengths.
            compiled: For this one.
            length: Of the last dimension.
            fixed: Makes of `compiled` and an input what computes inputs of that shape: `record_graph`, or `unchanged`.
        """
        self._plain = plain
        self._compiled = compiled
        self._length = length
        self._fixed = fixed
        self._of_rows: dict[int, Compute] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Compute [batch, ..., length]."""
        if x.shape[-1] != self._length:
            return self._plain(x)
        count = len(x)
        rows = rows_of(count)
        # In one order in memory, for another one would be compiled anew.
        filled = x.contiguous() if rows == count else torch.cat([x, x.new_zeros(rows - count, *x.shape[1:])])
        if rows not in self._of_rows:
            self._of_rows[rows] = self._fixed(self._compiled, filled)
        return self._of_rows[rows](filled)[:count]


def rows_of(count: int) -> int:
    """Return the power of two that a batch is filled up to.

    >>> [rows_of(count) for count in (1, 2, 3, 8, 9)]
    [2, 2, 4, 8, 16]
    """
    return max(FEWEST_ROWS, 1 << (count - 1).bit_length())


def unchanged(compute: Compute, example: Tensor) -> Compute:
    """Return what computes inputs of the example's shape: the same."""
    return compute


@contextmanager
def undisturbed() -> Iterator[None]:
    """Record a CUDA graph inside, which nobody disturbs, then or later.

    No garbage is collected: among it may be an older graph, whose end would be an error in the middle of a recording.
    Products work in memory of the graph. They would work in memory that PyTorch keeps for each stream, and that others
    give back while the graph has its address: Lightning around each of its loops, PyTorch with any graph of the stream.
    """
    gc.collect()
    with without_collection():
        torch._C._cuda_clearCublasWorkspaces()  # the next product gets such memory anew
        try:
            yield
        finally:
            torch._C._cuda_clearCublasWorkspaces()


class GraphRecorder:
    """Records CUDA graphs that share their memory, of which one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._aside = torch.cuda.Stream(device)
        self._replaying = threading.Lock()
        self._done = torch.cuda.Event()
        """Where the last replay ends, on whatever stream it is."""

    def __call__(self, compute: Compute, example: Tensor) -> Compute:
        """Return what computes inputs of the example's shape by replaying one graph; its results are copies."""
        graph, given = torch.cuda.CUDAGraph(), example.clone()
        aside, current = self._aside, torch.cuda.current_stream(self._device)
        with self._replaying, torch.cuda.device(self._device), torch.cuda.stream(aside):
            aside.wait_stream(current)
            for _ in range(WARM_UPS):
                compute(given)
            # Other threads copy results meanwhile, which is no part of the graph. Torch's own stream for this would be
            # one of the first device that was ever recorded on.
            with (
                undisturbed(),
                torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"),
            ):
                made = compute(given)
        current.wait_stream(aside)

        def replay(x: Tensor) -> Tensor:
            stream = torch.cuda.current_stream(self._device)
            with self._replaying:
                stream.wait_event(self._done)
                given.copy_(x)
                graph.replay()
                found = made.clone()
                self._done.record(stream)
            return found

        return replay
