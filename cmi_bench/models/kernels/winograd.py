"""3x3 convolution by Winograd's algorithm: 2.25 multiplications for each output instead of 9, with stride two 5.06.

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
"""Four outputs of three taps with six products instead of twelve. Small points of both signs keep rounding small."""
TILES = 128
"""Tiles that are computed at once: few, so that their values stay in the cache, and enough rows for fast products."""


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


class Axis(NamedTuple):
    """A filter of three taps that moves in steps, as a sum over phases: phase p has the samples p, p + step, ...

    In its phase every filter moves by one sample, and all phases share one algorithm, so that their products are added
    up before the outputs are made.
    """

    outputs: Matrix
    """[outputs, values]."""
    weights: npt.NDArray[np.float64]
    """[phases, values, 3 taps]."""
    inputs: Matrix
    """[values, samples of a phase]."""

    @property
    def step(self) -> int:
        """Samples that the filter moves by, which is the number of phases."""
        return len(self.weights)

    def tiles(self, outputs: int) -> int:
        """Return how many tiles have that many outputs."""
        return -(-outputs // len(self.outputs))

    def reach(self, tiles: int) -> int:
        """Return how many samples, of all phases, that many tiles are made of."""
        return self.step * ((tiles - 1) * len(self.outputs) + int(self.inputs.shape[1]))


def axis_of(step: int) -> Axis:
    """Return the axis of a filter that moves by one sample, or by two: then four outputs take 9 products, not 12."""
    if step == 1:
        algorithm = cook_toom(POINTS, TAPS)
        return Axis(algorithm.outputs, algorithm.weights[None], algorithm.inputs)
    # The outer taps see every other sample, to which they are a filter of two taps; the middle one sees the rest.
    algorithm = cook_toom(POINTS[:4], 2)
    weights = np.zeros((2, len(algorithm.weights), TAPS))
    weights[0][:, [0, 2]] = algorithm.weights
    weights[1][:, 1] = algorithm.weights[:, 0]  # zero at infinity, where a polynomial has its highest power
    return Axis(algorithm.outputs, weights, algorithm.inputs)


PHASES = ((0, 1), (0, 0), (1, 0), (1, 1))
"""Of both axes, in the order of their channels: so lie those that a value is made of side by side."""


class WinogradConv(nn.Module):
    """A 3x3 convolution with padding 1 and strides of 1 or 2, in float32 on the CPU.

    Tiles of the input are transformed to values, the channels of each value are mixed by a product, and tiles of the
    output are transformed back. The transforms are products too, of one matrix for both axes. With a stride the phases
    of the input are further channels.
    """

    def __init__(self, weight: Tensor, bias: Tensor, stride: tuple[int, int] = (1, 1)) -> None:
        """Transform float32 weights [channels out, channels in, 3, 3]; bias is [channels out]."""
        super().__init__()
        self.axes = down, across = axis_of(stride[0]), axis_of(stride[1])
        self.to_values = torch.from_numpy(np.kron(down.inputs, across.inputs)).float()
        self.to_outputs = torch.from_numpy(np.kron(down.outputs, across.outputs)).float()
        self.phases = [(i, j) for i, j in PHASES if i < down.step and j < across.step]
        filters = torch.cat([_filters(weight, down.weights[i], across.weights[j]) for i, j in self.phases], dim=2)
        self.channels = [_span_of_nonzero(values) for values in filters]
        self.products = nn.ModuleList(
            make_linear(values[:, span], None) for values, span in zip(filters, self.channels, strict=True)
        )
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels in, height, width] to [batch, channels out, ...], channels last in memory."""
        x = x.permute(0, 2, 3, 1)
        height, width = (-(-size // axis.step) for size, axis in zip(x.shape[1:3], self.axes, strict=True))
        out = x.new_empty(len(x), height, width, len(self.bias))
        down, across = self.axes
        # A strip has all of the height, so that it reads little of its neighbours.
        size = max(1, TILES // down.tiles(height)) * len(across.outputs)
        starts = range(0, width, size)

        def compute(start: int) -> None:
            strip = out[:, :, start : start + size]
            torch.add(self._outputs(x, start, strip.shape[1:3]), self.bias, out=strip)

        # Each strip by one thread: at each of its hundred operations threads would wait for each other.
        in_threads(compute, starts, sizes=[1] * len(starts), at_once=len(starts))
        return out.permute(0, 3, 1, 2)

    def _outputs(self, x: Tensor, start: int, wanted: Sequence[int]) -> Tensor:
        """Return [batch, height, width, channels out] of the size wanted, from output `start` of the width on."""
        counts = [axis.tiles(size) for axis, size in zip(self.axes, wanted, strict=True)]
        tiles = self._tiles(x, start, counts)
        values = (self.to_values @ tiles.flatten(1)).view(len(self.to_values), -1, tiles.shape[-1])
        mixed = x.new_empty(*values.shape[:2], len(self.bias))
        for into, rows, channels, product in zip(mixed, values, self.channels, self.products, strict=True):
            into.copy_(product(rows[:, channels]))
        down, across = (len(axis.outputs) for axis in self.axes)
        outputs = (self.to_outputs @ mixed.flatten(1)).view(down, across, len(x), *counts, -1)
        rows = outputs.permute(2, 3, 0, 4, 1, 5).reshape(len(x), counts[0] * down, counts[1] * across, -1)
        return rows[:, : wanted[0], : wanted[1]]

    def _tiles(self, x: Tensor, start: int, counts: Sequence[int]) -> Tensor:
        """Return tiles [samples of a tile, batch, tiles down, tiles across, channels of all phases]."""
        down, across = self.axes
        first = across.step * start - 1  # of the samples; one is padding
        last = first + across.reach(counts[1])
        height, width = x.shape[1:3]
        padding = (max(-first, 0), max(last - width, 0), 1, down.reach(counts[0]) - 1 - height)
        padded = F.pad(x[:, :, max(first, 0) : last], (0, 0, *padding))
        windows = [
            padded[:, i :: down.step, j :: across.step]
            .unfold(1, down.inputs.shape[1], len(down.outputs))
            .unfold(2, across.inputs.shape[1], len(across.outputs))
            for i, j in self.phases
        ]
        return torch.cat([window.permute(4, 5, 0, 1, 2, 3) for window in windows], dim=-1).flatten(0, 1)


def _filters(weight: Tensor, down: Matrix, across: Matrix) -> Tensor:
    """Return the filters' values [values of both axes, channels out, channels in] of one phase."""
    # In double precision, as the values are small differences of large numbers.
    values = torch.einsum("ih,jw,ochw->ijoc", torch.from_numpy(down), torch.from_numpy(across), weight.double())
    return values.flatten(0, 1).float()


def _span_of_nonzero(weight: Tensor) -> slice:
    """Return the channels in, from the first to the last, that weights [channels out, channels in] do not ignore."""
    used = weight.any(dim=0).nonzero()
    return slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0, 1)
