"""Which of several ways to compute the same thing is the fastest on this machine: found out by trying.

Fast products with a matrix of weights.

In float32 PyTorch's own way on the CPU is MKL, which uses half of some processors; oneDNN may do better there, and
elsewhere worse. In bfloat16 PyTorch takes oneDNN by itself, which then brings the weights into its order at each call.
So what is used is measured.

Many products of equal size at once, as Winograd convolution needs them.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from cmi_bench.models.batching import computes_bf16

log = logging.getLogger(__name__)


Way = Callable[[Tensor], Tensor]

ROUNDS = 2
"""Trials of each way, in turns, after one that does not count; the best one counts."""
CLEARLY = 0.9
"""A way is taken instead of one before it if it needs at most this share of its time: near ties go the same way in
every process."""

_chosen: dict[str, str] = {}


def fastest(task: str, makers: Mapping[str, Callable[[], Way]], example: Callable[[], Tensor]) -> Way:
    """Return the fastest way.

    Measured when a task is met for the first time, up to a second for the largest; from then on in this process that
    task goes that way.

    Args:
        task: Says what is computed, shapes and precision included.
        makers: Make the ways by name. All compute the same but for rounding; the first one is the plain one.
        example: Returns what to measure with.
    """
    if task not in _chosen:
        names = list(makers)
        _chosen[task] = names[0] if len(names) == 1 else _measure(makers, example())
        log.debug("%s: %s", task, _chosen[task])
    return makers[_chosen[task]]()


def choices() -> dict[str, str]:
    """Return the way of every task met in this process."""
    return dict(sorted(_chosen.items()))


def _measure(makers: Mapping[str, Callable[[], Way]], example: Tensor) -> str:
    ways = {name: make() for name, make in makers.items()}
    seconds = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode():
        for way in ways.values():
            way(example)
        for _ in range(ROUNDS):
            for name, way in ways.items():
                # Of the processors: a busy machine would tell little about the ways by the clock on the wall. A thread
                # that waits for the others is busy too, so that work which is badly shared out shows.
                start = time.process_time()
                way(example)
                seconds[name] = min(seconds[name], time.process_time() - start)
    taken, *others = ways
    for name in others:
        if seconds[name] <= CLEARLY * seconds[taken]:
            taken = name
    return taken


EXAMPLE_ROWS = 750
"""Rows that products are measured with: frames of 30 s."""
WORTH_MEASURING = 256 * 256
"""Weights from which on the way matters."""


class PackedLinear(nn.Module):
    """A product by oneDNN with weights in the order that its kernels read them in."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.width = weight.shape[0]
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out], in the weights' precision."""
        x = x.to(self.weight.dtype)  # PyTorch's autocast does not know of this product
        if not x.numel():
            return x.new_zeros(*x.shape[:-1], self.width)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return PyTorch's own module with these weights."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


WAYS: dict[str, Callable[[Tensor, Tensor | None], nn.Module]] = {
    "linear": plain_linear,
    "oneDNN": PackedLinear,
}
"""By name, the plain one first."""


def offers_ways(weight: Tensor) -> bool:
    """Tell whether there is a choice where these weights are."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and computes_bf16())


def fast_linear(weight: Tensor, bias: Tensor | None) -> Way:
    """Return a module that maps [..., in] to [..., out] with weight [out, in] and bias [out].

    Computes in the weight's precision and on its device.
    """
    names = list(WAYS) if offers_ways(weight) and weight.numel() >= WORTH_MEASURING else list(WAYS)[:1]
    return fastest(
        f"product {weight.shape[1]}x{weight.shape[0]}, {weight.dtype}, {weight.device.type}",
        {name: partial(WAYS[name], weight, bias) for name in names},
        lambda: torch.full((EXAMPLE_ROWS, weight.shape[1]), 0.5, dtype=weight.dtype),
    )


class MatmulProducts(nn.Module):
    """By PyTorch's batched matrix product."""

    def __init__(self, weights: Tensor) -> None:
        """Take weights [products, in, out]."""
        super().__init__()
        self.weights = weights.contiguous()

    def forward(self, x: Tensor, *, out: Tensor) -> None:
        """Map [products, rows, in] to [products, rows, out]."""
        torch.bmm(x, self.weights, out=out)


class PackedProducts(nn.Module):
    """By oneDNN, one after another."""

    def __init__(self, weights: Tensor) -> None:
        """Take weights [products, in, out]."""
        super().__init__()
        self.products = nn.ModuleList(PackedLinear(weight.T, None) for weight in weights)

    def forward(self, x: Tensor, *, out: Tensor) -> None:
        """Map [products, rows, in] to [products, rows, out]."""
        for into, rows, product in zip(out, x, self.products, strict=True):
            into.copy_(product(rows))
