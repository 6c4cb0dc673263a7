"""Products with a matrix of weights by oneDNN, the weights packed once in the order that its kernels read them in.

PyTorch's own float32 product on the CPU is MKL's, which uses half of some processors with AVX-512; in bfloat16 it
takes oneDNN, but packs the weights anew at each call.
"""

import torch
from torch import Tensor, nn

from cmi_bench.models.batching import computes_bf16


class PackedLinear(nn.Module):
    """A linear layer with packed weights; computes in their precision, also under autocast."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Pack weight [out, in], float32 or bfloat16 on the CPU, with bias [out] of the same type."""
        super().__init__()
        self.width = weight.shape[0]
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        x = x.to(self.weight.dtype)  # autocast does not know of this product
        if not x.numel():
            return x.new_zeros(*x.shape[:-1], self.width)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def can_pack(dtype: torch.dtype) -> bool:
    """Tell whether oneDNN multiplies this type well on this machine's CPU."""
    return torch.backends.mkldnn.is_available() and (
        dtype == torch.float32 or (dtype == torch.bfloat16 and computes_bf16())
    )


def make_linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Return a layer that maps [..., in] to [..., out]: on the CPU packed where oneDNN can, else PyTorch's own."""
    if weight.device.type == "cpu" and can_pack(weight.dtype):
        return PackedLinear(weight, bias)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


class PointwiseConv(nn.Module):
    """A convolution of kernel 1 as a product, whose result does not depend on how many threads compute it.

    That of PyTorch's own does, by a few units in the last place (torch 2.14.1).
    """

    def __init__(self, weight: Tensor) -> None:
        """Take weight [channels out, channels in, 1], float32 or bfloat16 on the CPU."""
        super().__init__()
        self.product = make_linear(weight[..., 0], None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels in, time] to [batch, channels out, time], a transposed view."""
        out: Tensor = self.product(x.transpose(1, 2))
        return out.transpose(1, 2)
