"""Fast products with a matrix of weights.

In float32 PyTorch's own way on the CPU is MKL, which uses half of some processors; oneDNN may do better there, and
elsewhere worse. In bfloat16 PyTorch takes oneDNN by itself, which then brings the weights into its order at each call.
So what is used is measured.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from cmi_bench.models.cmi_rm.fast.choose import Way, fastest
from cmi_bench.models.cmi_rm.precision import computes_bf16

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
