"""Fast 3x3 convolutions over time and mel bands.

All of them map [batch, time, mel, channels] to [batch, (time - 3) // stride + 1, ceil(mel / stride), channels out]: in
time nothing is padded, for the caller hands over pieces of a longer input; beyond the mel bands are zeros.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.fast.choose import Way, fastest
from cmi_bench.models.cmi_rm.fast.linear import offers_ways
from cmi_bench.models.cmi_rm.fast.products import MatmulProducts, PackedProducts
from cmi_bench.models.cmi_rm.fast.winograd import WinogradConv

WORTH_MEASURING = 64
"""Channels, in and out, from which on the way matters."""


class Stride(NamedTuple):
    """Steps of a convolution."""

    time: int
    mel: int


class DirectConv(nn.Module):
    """PyTorch's convolution."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: Stride) -> None:
        """Take weights [channels out, channels in, time, mel] and bias [channels out]."""
        super().__init__()
        # Graphics processors have their fast float32 kernels for channels that lie apart.
        apart = weight.device.type == "cuda" and weight.dtype == torch.float32
        self.memory_format = torch.contiguous_format if apart else torch.channels_last
        self.weight = weight.contiguous(memory_format=self.memory_format)
        self.bias = bias
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; shapes as above."""
        x = x.permute(0, 3, 1, 2).to(self.weight.dtype, memory_format=self.memory_format)
        return F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=(0, 1)).permute(0, 2, 3, 1)


def fast_conv(weight: Tensor, bias: Tensor, stride: Stride, *, example: tuple[int, int]) -> Way:
    """Return a module that convolves.

    Args:
        weight: [channels out, channels in, time, mel]; computed in its precision and on its device.
        bias: [channels out].
        stride: Of both axes.
        example: Time and mel bands of an input to measure with.
    """
    makers: dict[str, Callable[[], Way]] = {"direct": lambda: DirectConv(weight, bias, stride)}
    if offers_ways(weight) and min(weight.shape[:2]) >= WORTH_MEASURING:
        makers["winograd"] = lambda: WinogradConv(weight, bias, stride, MatmulProducts)
        makers["winograd, oneDNN"] = lambda: WinogradConv(weight, bias, stride, PackedProducts)
    channels_out, channels_in = weight.shape[:2]
    return fastest(
        f"3x3 convolution {channels_in}x{channels_out}, stride {stride.time}x{stride.mel}, {weight.dtype},"
        f" {weight.device.type}",
        makers,
        lambda: torch.full((1, *example, channels_in), 0.5, dtype=weight.dtype),
    )
