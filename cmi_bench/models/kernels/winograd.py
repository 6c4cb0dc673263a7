"""3x3 convolution by Winograd's algorithm: 2.25 multiplications for each output instead of 9.

A filter over m outputs is a product of polynomials, and that is known from its values at enough points: transform
filter and input to values, multiply them, transform back. See Lavin and Gray 2015 (https://arxiv.org/abs/1509.09308);
the one-dimensional algorithms are Cook's and Toom's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.kernels.packed import make_linear
from cmi_bench.models.threads import in_threads

Matrix = npt.NDArray[np.float64]

TAPS = 3
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Four outputs with six products instead of twelve. Small points of both signs keep rounding small."""
STRIP = 32
"""Positions of the last axis that are computed at once: few, so that a strip's values stay in the cache."""


class Algorithm(NamedTuple):
    """outputs @ ((weights @ filter) * (inputs @ samples)) are the filter's outputs over the samples."""

    outputs: Matrix
    """[outputs, products]."""
    weights: Matrix
    """[products, filter taps]."""
    inputs: Matrix
    """[products, samples]."""


def cook_toom(points: Sequence[float], taps: int) -> Algorithm:
    """Return the algorithm for a filter of `taps` taps with its values at `points` and at infinity.

    It computes len(points) + 2 - taps outputs with len(points) + 1 products.
    """
    outputs = len(points) + 2 - taps
    other_points = [[b for b in points if b != a] for a in points]
    values = np.vander(points, max(outputs, taps), increasing=True)
    scales = [np.prod([a - b for b in others]) for a, others in zip(points, other_points, strict=True)]
    return Algorithm(
        outputs=np.column_stack([values[:, :outputs].T, np.eye(outputs)[-1]]),
        weights=np.vstack([values[:, :taps] / np.array(scales)[:, None], np.eye(taps)[-1]]),
        # The polynomials that vanish at all points, or at all but one; lowest power first.
        inputs=np.array([*([*np.poly(others)[::-1], 0.0] for others in other_points), np.poly(points)[::-1]]),
    )


class WinogradConv(nn.Module):
    """A 3x3 convolution with stride 1 and padding 1, in float32 on the CPU.

    Tiles of the input are transformed to values, the channels of each value are mixed by a product, and tiles of the
    output are transformed back. The transforms are products too, of one matrix for both axes.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Transform float32 weights [channels out, channels in, 3, 3]; bias is [channels out]."""
        super().__init__()
        algorithm = cook_toom(POINTS, TAPS)
        self.tile, self.span = algorithm.inputs.shape[1] + 1 - TAPS, algorithm.inputs.shape[1]
        self.to_values = torch.from_numpy(np.kron(algorithm.inputs, algorithm.inputs)).float()
        self.to_outputs = torch.from_numpy(np.kron(algorithm.outputs, algorithm.outputs)).float()
        # In double precision, as the filters' values are small differences of large numbers.
        taps = torch.from_numpy(algorithm.weights)
        filters = torch.einsum("ih,jw,ochw->ijoc", taps, taps, weight.double()).flatten(0, 1).float()
        self.products = nn.ModuleList(make_linear(values, None) for values in filters)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels in, height, width] to [batch, channels out, height, width], channels last in memory."""
        x = x.permute(0, 2, 3, 1)
        out = x.new_empty(*x.shape[:3], len(self.bias))
        starts = range(0, x.shape[2], STRIP)

        def compute(start: int) -> None:
            torch.add(self._strip(x, start), self.bias, out=out[:, :, start : start + STRIP])

        # Each strip by one thread: at each of its hundred operations threads would wait for each other.
        in_threads(compute, starts, sizes=[1] * len(starts), at_once=len(starts))
        return out.permute(0, 3, 1, 2)

    def _strip(self, x: Tensor, start: int) -> Tensor:
        """Return positions `start` to `start + STRIP` of the output [batch, height, width, channels out]."""
        batch, height, whole_width, channels = x.shape
        width = min(STRIP, whole_width - start)
        down, across = -(-height // self.tile), -(-width // self.tile)
        first, last = start - 1, start + across * self.tile + 1
        padding = (max(-first, 0), max(last - whole_width, 0), 1, down * self.tile + 1 - height)
        padded = F.pad(x[:, :, max(first, 0) : last], (0, 0, *padding))
        windows = padded.unfold(1, self.span, self.tile).unfold(2, self.span, self.tile)
        tiles = windows.permute(4, 5, 0, 1, 2, 3).reshape(self.span**2, -1)
        values = (self.to_values @ tiles).view(self.span**2, -1, channels)
        mixed = x.new_empty(*values.shape[:2], len(self.bias))
        for into, rows, product in zip(mixed, values, self.products, strict=True):
            into.copy_(product(rows))
        outputs = (self.to_outputs @ mixed.flatten(1)).view(self.tile, self.tile, batch, down, across, -1)
        rows = outputs.permute(2, 3, 0, 4, 1, 5).reshape(batch, down * self.tile, across * self.tile, -1)
        return rows[:, :height, :width]
