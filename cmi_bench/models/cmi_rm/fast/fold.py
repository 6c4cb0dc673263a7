"""Batch normalisation with frozen statistics is a scale and a shift: here they go into the convolution before it."""

from torch import Tensor, nn

from cmi_bench.models.cmi_rm.batch_norm import FrozenBatchNorm


def fold(conv: nn.Conv1d | nn.Conv2d, norm: FrozenBatchNorm) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution that gives what `norm` makes of `conv`'s result; float32."""
    scale, shift = norm.scale_and_shift()
    weight = conv.weight.double() * scale.view(-1, *(1,) * (conv.weight.ndim - 1))
    bias = shift if conv.bias is None else shift + conv.bias.double() * scale
    return weight.float(), bias.float()
