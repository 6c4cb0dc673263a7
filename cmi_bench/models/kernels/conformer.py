"""The Conformer's attention with one product for queries and keys, and heads that lie in one piece.

The Conformer's convolution module without transpositions, its normalisation folded.

Batch normalisation with frozen statistics is a scale and a shift: here they go into the convolution before it.

MuQ's convolutional front end with its normalisations folded, computed in strips that stay in the cache.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.kernels.linear import fast_linear
from cmi_bench.models.kernels.winograd import Stride, fast_conv
from cmi_bench.models.muq.encoder import (
    ConvFrontend,
    ConvolutionModule,
    FrozenBatchNorm,
    ResidualConv2d,
    RotarySelfAttention,
    rotate,
)
from cmi_bench.models.muq.transformer import split_heads


class FastRotarySelfAttention(nn.Module):
    """Self-attention over all frames; queries and keys see rotated input, values do not."""

    def __init__(self, module: RotarySelfAttention, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads = module.heads
        query, key = module.linear_q, module.linear_k
        self.query_key = fast_linear(
            torch.cat((query.weight, key.weight)).to(dtype), torch.cat((query.bias, key.bias)).to(dtype)
        )
        self.value, self.out = (
            fast_linear(linear.weight.to(dtype), linear.bias.to(dtype))
            for linear in (module.linear_v, module.linear_out)
        )

    def forward(self, x: Tensor, rotary: Tensor) -> Tensor:
        """Attend within x [batch, time, dim]; same shape out."""
        query, key = self.query_key(rotate(x, rotary, self.heads)).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(self._heads(query), self._heads(key), self._heads(self.value(x)))
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """Return [batch, heads, time, channels of a head], in one piece: on the CPU a fifth faster to attend over."""
        heads = split_heads(x, self.heads)
        return heads.contiguous() if x.device.type == "cpu" else heads


def fold(conv: nn.Conv1d | nn.Conv2d, norm: FrozenBatchNorm) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution that gives what `norm` makes of `conv`'s result; float32."""
    scale, shift = norm.scale_and_shift()
    weight = conv.weight.double() * scale.view(-1, *(1,) * (conv.weight.ndim - 1))
    bias = shift if conv.bias is None else shift + conv.bias.double() * scale
    return weight.float(), bias.float()


class FastConvolutionModule(nn.Module):
    """Pointwise convolutions as products; the depthwise one over channels that lie side by side."""

    def __init__(self, module: ConvolutionModule, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer_norm = module.layer_norm
        self.gated = fast_linear(module.pointwise_conv1.weight[..., 0].to(dtype), None)
        weight, bias = fold(module.depthwise_conv, module.batch_norm)
        # oneDNN's depthwise convolution in bfloat16 does not return where a thread gets 16 channels (2.14.1).
        exact = torch.float32 if weight.device.type == "cpu" else dtype
        # [dim, 1, 1, kernel]: an image of one row
        self.weight = weight.unsqueeze(2).to(exact, memory_format=torch.channels_last)
        self.bias = bias.to(exact)
        self.out = fast_linear(module.pointwise_conv2.weight[..., 0].to(dtype), None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, dim] to the same shape."""
        image = F.glu(self.gated(self.layer_norm(x))).mT.unsqueeze(2)
        padding = (0, (self.weight.shape[3] - 1) // 2)
        with torch.autocast(x.device.type, enabled=False):
            y = F.conv2d(image.to(self.weight.dtype), self.weight, self.bias, padding=padding, groups=len(self.weight))
        return self.out(F.silu(y.squeeze(2).mT, inplace=True).to(image.dtype))


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
