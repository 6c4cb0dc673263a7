"""Many products of equal size at once, as Winograd convolution needs them."""

import torch
from torch import Tensor, nn

from cmi_bench.models.cmi_rm.fast.linear import PackedLinear


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
