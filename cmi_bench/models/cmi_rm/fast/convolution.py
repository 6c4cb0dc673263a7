"""Fast 3x3 convolutions over time and mel bands.

All of them map [batch, time, mel, channels] to [batch, (time - 3) // stride + 1, ceil(mel / stride), channels out]: in
time nothing is padded, for the caller hands over pieces of a longer input; beyond the mel bands are zeros.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.fast.choose import Way, fastest
from cmi_bench.models.cmi_rm.fast.linear import offers_ways
from cmi_bench.models.cmi_rm.fast.products import MatmulProducts, PackedProducts
from cmi_bench.models.cmi_rm.fast.winograd import WinogradConv, WinogradFilters

WORTH_MEASURING = 64
"""Channels, in and out, from which on the way matters."""


class Stride(NamedTuple):
    """Steps of a convolution."""

    time: int
    mel: int


class DirectConv(nn.Module):
    """PyTorch's convolution."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: Stride) -> None:
        """Take weights [channels out, channels in, time, mel] and bias [channels out], or no bias."""
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


class PackedConv(nn.Module):
    """PyTorch's convolution by oneDNN, with weights in the order that its kernels read them in."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: Stride, *, example: tuple[int, int]) -> None:
        """Take weights [channels out, channels in, time, mel] and bias; `example` is time and mel of an input."""
        super().__init__()
        size = [1, weight.shape[1], *example]
        self.how = ([0, 1], list(stride), [1, 1], 1)
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.contiguous(memory_format=torch.channels_last), *self.how, size
        )
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; shapes as above."""
        x = x.permute(0, 3, 1, 2).to(self.weight.dtype, memory_format=torch.channels_last)
        convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self.how, "none", [], ""
        )
        return convolved.permute(0, 2, 3, 1)


def fast_conv(weight: Tensor, bias: Tensor | None, stride: Stride, *, example: tuple[int, int]) -> Way:
    """Return a module that convolves.

    Args:
        weight: [channels out, channels in, time, mel]; computed in its precision and on its device.
        bias: [channels out], or None.
        stride: Of both axes.
        example: Time and mel bands of an input to measure with.
    """
    worth_it = offers_ways(weight) and min(weight.shape[:2]) >= WORTH_MEASURING
    makers: dict[str, Callable[[], Way]] = {
        # The packed one computes the same numbers, and need not be tried.
        "direct": partial(PackedConv, weight, bias, stride, example=example)
        if worth_it
        else partial(DirectConv, weight, bias, stride)
    }
    if worth_it and weight.dtype == torch.float32:  # differences of large numbers are not for bfloat16
        filters = cache(lambda: WinogradFilters(weight, stride))
        makers["winograd"] = lambda: WinogradConv(filters(), bias, MatmulProducts)
        makers["winograd, oneDNN"] = lambda: WinogradConv(filters(), bias, PackedProducts)
    channels_out, channels_in = weight.shape[:2]
    return fastest(
        f"3x3 convolution {channels_in}x{channels_out}, stride {stride.time}x{stride.mel}, {weight.dtype},"
        f" {weight.device.type}",
        makers,
        lambda: torch.full((1, *example, channels_in), 0.5, dtype=weight.dtype),
    )
