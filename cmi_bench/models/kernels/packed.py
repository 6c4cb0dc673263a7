"""Products with a matrix of weights by oneDNN, the weights packed once in the order that its kernels read them in.

PyTorch's own float32 product on the CPU is MKL's, which uses half of some processors with AVX-512; in bfloat16 it
takes oneDNN, but packs the weights anew at each call.
"""

import torch
from torch import Tensor, nn

from cmi_bench.models.batching import computes_bf16, exact


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


class Bfloat16Products(nn.Module):
    """A layer in bfloat16 on a processor that multiplies float32 only.

    A product of two bfloat16 numbers is a float32 number, and sums of them are kept in float32 also where a processor
    multiplies bfloat16 by itself. So it gives the same numbers but for the order of the sums, at the cost of float32.
    """

    def __init__(self, layer: nn.Module) -> None:
        """Take the layer, in float32, with weights and bias that bfloat16 can hold."""
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer of what x is in bfloat16; bfloat16 comes out."""
        with exact(x.device):
            out: Tensor = self.layer(x.bfloat16().float()).bfloat16()
        return out


def make_linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Return a layer that maps [..., in] to [..., out]: on the CPU packed where oneDNN can, else PyTorch's own."""
    if weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and not computes_bf16():
        return Bfloat16Products(make_linear(weight.float(), None if bias is None else bias.float()))
    if weight.device.type == "cpu" and can_pack(weight.dtype):
        return PackedLinear(weight, bias)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear
