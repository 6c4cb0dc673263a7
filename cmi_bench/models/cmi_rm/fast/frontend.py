"""MuQ's convolutional front end with its normalisations folded, computed in strips that stay in the cache."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.conv_frontend import ConvFrontend, ResidualConv2d
from cmi_bench.models.cmi_rm.fast.convolution import Stride, fast_conv
from cmi_bench.models.cmi_rm.fast.fold import fold
from cmi_bench.models.cmi_rm.fast.linear import fast_linear

STRIPS = (2048, 4032)
"""Pixels of the output, time by mel, that a processor computes at once in the first and in the second block, as
measured. Of the second block's 32 bands these are 126 frames, 128 with those that the second convolution looks at
beyond them, and so whole tiles of four."""

HALO = 2
"""Frames beyond a strip that its second convolution looks at, one on either side."""


class FastResidual(nn.Module):
    """A residual block; the convolutions that share an input are one."""

    def __init__(self, block: ResidualConv2d, *, mel: int, strip: int, dtype: torch.dtype) -> None:
        """Take over a block whose input has `mel` bands, to be computed in strips of so many pixels."""
        super().__init__()
        mel_stride, time_stride = block.conv1.stride
        self.stride = Stride(time_stride, mel_stride)
        self.channels, self.bands, self.dtype = block.conv1.out_channels, -(-mel // mel_stride), dtype
        on_cpu = block.conv1.weight.device.type == "cpu"
        rows = max(strip // self.bands, 1)
        self.rows = rows if on_cpu else None
        """Frames in a strip; None for all at once."""
        # Weights are [out, in, mel, time] in the checkpoint.
        (weight1, bias1), (weight2, bias2), (weight3, bias3) = (
            (weight.mT.to(dtype), bias.to(dtype))
            for weight, bias in (
                fold(block.conv1, block.bn1),
                fold(block.conv2, block.bn2),
                fold(block.conv3, block.bn3),
            )
        )
        self.entry = fast_conv(
            torch.cat((weight1, weight3)),
            torch.cat((bias1, bias3 + bias2)),  # what is added in the end may as well be added there
            self.stride,
            example=((rows + HALO) * time_stride + 1, mel),
        )
        self.second = fast_conv(weight2, None, Stride(1, 1), example=(rows + HALO, self.bands))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, mel, channels in] to [batch, time / stride, mel / stride, channels out], rounded up."""
        length = -(-x.shape[1] // self.stride.time)
        out = x.new_empty(len(x), length, self.bands, self.channels, dtype=self.dtype)
        rows = self.rows or length
        for start in range(0, length, rows):
            self._fill(out[:, start : start + rows], x, start, length)
        return out

    def _fill(self, strip: Tensor, x: Tensor, start: int, length: int) -> None:
        """Compute the frames from `start` of `length`."""
        stop = start + strip.shape[1]
        # The second convolution looks one frame to either side.
        first, last = max(start - 1, 0), min(stop, length - 1)
        both = self.entry(_frames(x, first * self.stride.time - 1, last * self.stride.time + 2))
        main, shortcut = both.chunk(2, dim=-1)
        main = self.second(_frames(F.relu_(main), start - 1 - first, stop + 1 - first))
        torch.add(main, shortcut[:, start - first : stop - first], out=strip)
        F.relu_(strip)


def _frames(x: Tensor, start: int, stop: int) -> Tensor:
    """Return x[:, start:stop] with zeros for the frames that are not there."""
    before, after = max(-start, 0), max(stop - x.shape[1], 0)
    there = x[:, start + before : stop - after]
    return F.pad(there, (0, 0, 0, 0, before, after)) if before or after else there


class FastFrontend(nn.Module):
    """Two residual blocks and a projection, with channels last."""

    def __init__(self, front: ConvFrontend, dtype: torch.dtype) -> None:
        super().__init__()
        first, second = (block for block in front.conv if isinstance(block, ResidualConv2d))
        channels = second.conv1.in_channels
        bands = front.linear.in_features // channels
        # Channel-major in the checkpoint; here mel bands come first.
        weight = front.linear.weight.unflatten(1, (channels, bands)).mT.flatten(1)
        self.linear = fast_linear(weight.to(dtype), front.linear.bias.to(dtype))
        self.blocks = nn.Sequential(
            FastResidual(first, mel=4 * bands, strip=STRIPS[0], dtype=dtype),
            FastResidual(second, mel=2 * bands, strip=STRIPS[1], dtype=dtype),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Map mel frames [batch, n_mels, time] to frames [batch, ceil(ceil(time / s1) / s2), dim]."""
        features: Tensor = self.blocks(mel.mT.unsqueeze(-1))
        return self.linear(features.flatten(2))
