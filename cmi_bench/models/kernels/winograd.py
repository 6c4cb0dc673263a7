"""3x3 convolution by Winograd's algorithm: 2.25 multiplications for each output instead of 9, with stride two 5.06.

A filter over m outputs is a product of polynomials, and that is known from its values at enough points: transform
filter and input to values, multiply them, transform back. See Lavin and Gray 2015 (https://arxiv.org/abs/1509.09308);
the one-dimensional algorithms are Cook's and Toom's.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.batching import exact
from cmi_bench.models.kernels.packed import make_linear
from cmi_bench.models.threads import in_threads

Matrix = npt.NDArray[np.float64]

TAPS = 3
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Four outputs of three taps with six products instead of twelve. Small points of both signs keep rounding small."""
TILES = 192
"""Tiles that are computed at once: few, so that their values stay in the cache, and enough rows for fast products."""
CHANNELS = 32
"""Channels out whose filters are transformed at once: memory that is new to a process takes longer than the sums."""


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
    output are transformed back. The transforms are products too, of one matrix for each axis. With a stride the phases
    of the input are further channels.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, stride: tuple[int, int] = (1, 1), dtype: torch.dtype = torch.float32
    ) -> None:
        """Transform the weights.

        Args:
            weight: float32 [channels out, channels in, 3, 3].
            bias: float32 [channels out].
            stride: Down and across.
            dtype: What inputs and outputs are rounded to.
        """
        super().__init__()
        self.dtype = dtype
        self.stride = stride
        self.axes = down, across = axis_of(stride[0]), axis_of(stride[1])
        self.to_values = tuple(torch.from_numpy(axis.inputs).float() for axis in self.axes)
        self.to_outputs = tuple(torch.from_numpy(axis.outputs).float() for axis in self.axes)
        self.phases = [(i, j) for i, j in PHASES if i < down.step and j < across.step]
        filters = torch.cat([_filters(weight, down.weights[i], across.weights[j]) for i, j in self.phases], dim=2)
        # What is added to the value at (1, 1) is added to each output.
        biased = POINTS.index(1.0) * (1 + len(down.inputs))
        self.channels = [_span_of_nonzero(values) for values in filters]
        self.products = nn.ModuleList(
            make_linear(values[:, span], bias if number == biased else None)
            for number, (values, span) in enumerate(zip(filters, self.channels, strict=True))
        )
        self.width = len(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels in, height, width] to [batch, channels out, ...], channels last in memory."""
        x = x.to(self.dtype).permute(0, 2, 3, 1)
        height, width = (-(-size // axis.step) for size, axis in zip(x.shape[1:3], self.axes, strict=True))
        out = x.new_empty(len(x), height, width, self.width)

        def compute(columns: slice) -> None:
            out[:, :, columns] = self.outputs(x, columns, height)

        with exact(x.device):
            in_strips(compute, width, self.strip(height))
        return out.permute(0, 3, 1, 2)

    def strip(self, height: int) -> int:
        """Return how many columns of outputs of that height are computed at once."""
        down, across = self.axes
        return max(1, TILES // down.tiles(height)) * len(across.outputs)

    def outputs(self, x: Tensor, columns: slice, height: int) -> Tensor:
        """Compute some columns, outside of autocast.

        Args:
            x: [batch, rows, columns, channels in], of the type that this convolution rounds to.
            columns: From which output on, up to which.
            height: Rows of outputs.

        Returns:
            float32 [batch, height, columns, channels out].
        """
        down, across = self.axes
        counts = down.tiles(height), across.tiles(columns.stop - columns.start)
        windows = self._windows(x, columns.start, counts)
        channels = windows.shape[-1]
        halves = (self.to_values[1] @ windows.flatten(1)).view(len(across.inputs), *windows.shape[1:])
        del windows
        tiles = len(x) * counts[0] * counts[1]
        tall = halves.new_empty(len(down.outputs), len(across.inputs), tiles * self.width)
        for number, half in enumerate(halves):
            rows = half.unfold(1, down.inputs.shape[1], len(down.outputs)).permute(4, 0, 1, 2, 3)
            values = (self.to_values[0] @ rows.reshape(len(rows), -1)).view(-1, tiles, channels)
            torch.mm(self.to_outputs[0], self._mixed(values, number * len(values)).flatten(1), out=tall[:, number])
        outputs = torch.bmm(self.to_outputs[1].expand(len(tall), -1, -1), tall)
        outputs = outputs.view(len(down.outputs), len(across.outputs), len(x), *counts, self.width)
        image = outputs.permute(2, 3, 0, 4, 1, 5).reshape(len(x), counts[0] * len(outputs), -1, self.width)
        return image[:, :height, : columns.stop - columns.start]

    def _mixed(self, values: Tensor, first: int) -> Tensor:
        """Mix the channels of values [values, tiles, channels in], the first of which has that number."""
        return torch.stack(
            [self.products[number](value[:, self.channels[number]]) for number, value in enumerate(values, first)]
        )

    def _windows(self, x: Tensor, start: int, counts: Sequence[int]) -> Tensor:
        """Return what tiles are made of, float32: [samples across, batch, rows of samples, tiles across, channels]."""
        down, across = self.axes
        first = across.step * start - 1  # of the samples; one is padding
        last = first + across.reach(counts[1])
        height, width = x.shape[1:3]
        padding = (max(-first, 0), max(last - width, 0), 1, down.reach(counts[0]) - 1 - height)
        padded = F.pad(x[:, :, max(first, 0) : last], (0, 0, *padding))
        phases = [padded[:, i :: down.step, j :: across.step] for i, j in self.phases]
        windows = [phase.unfold(2, across.inputs.shape[1], len(across.outputs)) for phase in phases]
        return torch.cat([window.permute(4, 0, 1, 2, 3) for window in windows], dim=-1).float()


def in_strips(compute: Callable[[slice], None], width: int, size: int) -> None:
    """Compute an image's columns in strips of all its height, which read little of their neighbours.

    Each strip is computed by one thread: at each of its hundred operations threads would wait for each other.
    """
    strips = [slice(start, min(start + size, width)) for start in range(0, width, size)]
    in_threads(compute, strips, sizes=[1] * len(strips), at_once=len(strips))


def _filters(weight: Tensor, down: Matrix, across: Matrix) -> Tensor:
    """Return the filters' values [values across and down, channels out, channels in] of one phase."""
    # In double precision, as the values are small differences of large numbers.
    parts = [
        torch.einsum("ih,jw,ochw->jioc", torch.from_numpy(down), torch.from_numpy(across), part.double()).float()
        for part in weight.split(CHANNELS)
    ]
    return torch.cat(parts, dim=2).flatten(0, 1)


def _span_of_nonzero(weight: Tensor) -> slice:
    """Return the channels in, from the first to the last, that weights [channels out, channels in] do not ignore."""
    used = weight.any(dim=0).nonzero()
    return slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0, 1)
