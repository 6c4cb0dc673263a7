"""3x3 convolution with fewer multiplications: 2.25 instead of 9 for each output, with stride two 6.25."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.fast.cook_toom import BY_STRIDE, Matrix


class WinogradConv(nn.Module):
    """The algorithm of Cook and Toom along both axes; as exact as a direct convolution in float32.

    Tiles of the input are transformed to values, the channels of each value are mixed by a product, tiles of the output
    are transformed back. The transforms are products too, of one matrix for both axes.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, stride: tuple[int, int], products: Callable[[Tensor], nn.Module]
    ) -> None:
        """Transform the weights.

        Args:
            weight: float32 [channels out, channels in, time, mel].
            bias: [channels out].
            stride: In time and mel.
            products: Makes what mixes channels from weights [products, channels in, channels out].
        """
        super().__init__()
        self.stride = stride
        self.time, self.mel = (BY_STRIDE[step] for step in stride)
        self.bias = bias
        self.to_values = _both_axes(self.time.inputs, self.mel.inputs)
        self.to_outputs = _both_axes(self.time.outputs, self.mel.outputs)
        time, mel = (torch.from_numpy(axis.weights) for axis in (self.time, self.mel))
        # In double precision, as the filters are small differences of large numbers here.
        filters = torch.einsum("it,jm,octm->ijco", time, mel, weight.double())
        self.products = products(filters.flatten(0, 1).float())

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, mel, channels] to [batch, (time - 3) // stride + 1, ceil(mel / stride), channels out]."""
        size = (x.shape[1] - 3) // self.stride[0] + 1, (x.shape[2] - 1) // self.stride[1] + 1
        tiles = self._tiles(x, size)
        values = self.to_values @ tiles.reshape(len(self.to_values[0]), -1)
        mixed = self.products(values.view(len(values), -1, x.shape[3]))
        outputs = self.to_outputs @ mixed.flatten(1)
        per_time, per_mel = len(self.time.outputs), len(self.mel.outputs)
        by_tile = outputs.view(per_time, per_mel, *tiles.shape[2:5], -1).permute(2, 3, 0, 4, 1, 5)
        whole = by_tile.reshape(len(x), tiles.shape[3] * per_time, tiles.shape[4] * per_mel, -1)
        out: Tensor = whole[:, : size[0], : size[1]] + self.bias
        return out

    def _tiles(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return a view [time and mel in the tile, batch, tiles in time, tiles in mel, channels] of the padded x."""
        counts, spans, padding = [], [], []
        for length, wanted, axis, before in zip(x.shape[1:3], size, (self.time, self.mel), (0, 1), strict=True):
            counts.append(-(-wanted // len(axis.outputs)))
            spans.append(axis.inputs.shape[1])
            padding.append((before, (counts[-1] - 1) * axis.step + spans[-1] - before - length))
        padded = F.pad(x, (0, 0, *padding[1], *padding[0]))
        batch, time, mel, channel = padded.stride()
        return padded.as_strided(
            (*spans, len(x), *counts, x.shape[3]),
            (time, mel, batch, time * self.time.step, mel * self.mel.step, channel),
        )


def _both_axes(time: Matrix, mel: Matrix) -> Tensor:
    return torch.from_numpy(np.kron(time, mel)).float()
