"""3x3 convolution with fewer multiplications: 2.25 instead of 9 for each output, with stride two 5.06.

Short convolutions with few multiplications: the algorithm of Cook and Toom.

A filter over m outputs is a product of polynomials, and that is known from its values at enough points: transform
filter and input to values, multiply them, transform back. See Lavin and Gray 2015 (https://arxiv.org/abs/1509.09308),
who use it for networks; there as "Winograd convolution".

Fast 3x3 convolutions over time and mel bands.

All of them map [batch, time, mel, channels] to [batch, (time - 3) // stride + 1, ceil(mel / stride), channels out]: in
time nothing is padded, for the caller hands over pieces of a longer input; beyond the mel bands are zeros.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.kernels.linear import MatmulProducts, PackedProducts, Way, fastest, offers_ways

Matrix = npt.NDArray[np.float64]


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

    It computes len(points) + 2 - taps outputs with len(points) + 1 products. Small points of both signs and
    simple fractions keep rounding small.
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

    Every phase is a filter that moves by one sample of its own, and all of them share outputs and inputs of one
    algorithm: products of a value are added up over the phases before the outputs are made.
    """

    outputs: Matrix
    """[outputs, values]."""
    weights: npt.NDArray[np.float64]
    """[phases, values, 3 taps]; a value of a phase that is zero whatever the taps needs no product."""
    inputs: Matrix
    """[values, samples of a phase]."""

    @property
    def step(self) -> int:
        """Samples that the filter moves by, which is the number of phases."""
        return len(self.weights)


def every_sample() -> Axis:
    """Return four outputs of a filter of three taps with 6 products instead of 12."""
    algorithm = cook_toom((0.0, 1.0, -1.0, 0.5, -2.0), taps=3)
    return Axis(algorithm.outputs, algorithm.weights[None], algorithm.inputs)


def every_other_sample() -> Axis:
    """Return four outputs, two samples apart, of a filter of three taps with 9 products instead of 12.

    The outer taps see every other sample, to which they are a filter of two taps; the middle one, a filter of one tap,
    sees the rest.
    """
    algorithm = cook_toom((0.0, 1.0, -1.0, 0.5), taps=2)
    weights = np.zeros((2, len(algorithm.weights), 3))
    weights[0][:, [0, 2]] = algorithm.weights
    weights[1][:, 1] = algorithm.weights[:, 0]  # zero at infinity, where a polynomial has its highest power
    return Axis(algorithm.outputs, weights, algorithm.inputs)


BY_STRIDE = {1: every_sample(), 2: every_other_sample()}
"""What a filter of three taps is computed with, by its stride."""


AROUND = ((0, 1), (0, 0), (1, 0), (1, 1))
"""Phases in time and mel, in the order of their channels. Values at infinity need even phases only: of one axis, of the
other, or of both; in this order what they need lies side by side."""


class _Group(NamedTuple):
    """Values that are made of the same phases."""

    values: slice
    phases: slice
    """In the order of `AROUND`."""


class WinogradFilters:
    """Filters of 3x3 taps at the values of both axes, by groups of values."""

    def __init__(self, weight: Tensor, stride: tuple[int, int]) -> None:
        """Transform float32 weights [channels out, channels in, time, mel] for a stride in time and mel."""
        self.time, self.mel = (BY_STRIDE[step] for step in stride)
        self.phases = [(time, mel) for time, mel in AROUND if time < self.time.step and mel < self.mel.step]
        order, self.groups = _grouped(self._needed())
        self.to_values = _both_axes(self.time.inputs, self.mel.inputs)[order]
        self.to_outputs = _both_axes(self.time.outputs, self.mel.outputs)[:, order]
        filters = torch.stack([self._of_phase(weight, phase)[order] for phase in self.phases], dim=1)
        self.of_groups = [filters[group.values, group.phases].flatten(1, 2) for group in self.groups]
        """Of each group [values, channels in of its phases, channels out]."""

    def _needed(self) -> npt.NDArray[np.bool_]:
        """Return which values need which phases: [values, phases]."""
        time, mel = (np.abs(axis.weights).max(axis=2) > 0 for axis in (self.time, self.mel))
        return np.stack([np.outer(time[phase[0]], mel[phase[1]]).ravel() for phase in self.phases], axis=1)

    def _of_phase(self, weight: Tensor, phase: tuple[int, int]) -> Tensor:
        """Return the filters' values [values, channels in, channels out] for one phase."""
        time, mel = (torch.from_numpy(axis.weights[at]) for axis, at in zip((self.time, self.mel), phase, strict=True))
        # In double precision, as the filters are small differences of large numbers here.
        return torch.einsum("it,jm,octm->ijco", time, mel, weight.double()).flatten(0, 1).float()


class WinogradConv(nn.Module):
    """The algorithm of Cook and Toom along both axes; as exact as a direct convolution in float32.

    Tiles of the input are transformed to values, the channels of each value are mixed by a product, tiles of the output
    are transformed back. The transforms are products too, of one matrix for both axes. With a stride the phases of the
    input are further channels.
    """

    def __init__(self, filters: WinogradFilters, bias: Tensor | None, products: Callable[[Tensor], nn.Module]) -> None:
        """Take over filters.

        Args:
            filters: Of the convolution, with its stride.
            bias: [channels out], or None.
            products: Makes what mixes channels from weights [values, channels in, channels out].
        """
        super().__init__()
        self.time, self.mel, self.phases = filters.time, filters.mel, filters.phases
        self.to_values, self.to_outputs = filters.to_values, filters.to_outputs
        self.bias = bias
        self.groups, self.channels_out = filters.groups, filters.of_groups[0].shape[2]
        self.products = nn.ModuleList(map(products, filters.of_groups))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, mel, channels] to [batch, (time - 3) // stride + 1, ceil(mel / stride), channels out]."""
        size = (x.shape[1] - 3) // self.time.step + 1, (x.shape[2] - 1) // self.mel.step + 1
        tiles = self._tiles(x, size)
        values = (self.to_values @ tiles.flatten(0, 1).flatten(1)).view(len(self.to_values), -1, tiles.shape[-1])
        mixed = x.new_empty(*values.shape[:2], self.channels_out)
        channels = x.shape[3]
        for group, product in zip(self.groups, self.products, strict=True):
            needed = slice(group.phases.start * channels, group.phases.stop * channels)
            product(values[group.values, :, needed], out=mixed[group.values])
        outputs = self.to_outputs @ mixed.flatten(1)
        per_time, per_mel = len(self.time.outputs), len(self.mel.outputs)
        by_tile = outputs.view(per_time, per_mel, *tiles.shape[2:5], -1).permute(2, 3, 0, 4, 1, 5)
        whole = by_tile.reshape(len(x), tiles.shape[3] * per_time, tiles.shape[4] * per_mel, -1)
        out: Tensor = whole[:, : size[0], : size[1]]
        return out if self.bias is None else out.add_(self.bias)

    def _tiles(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the padded x as [time and mel in the tile, batch, tiles in time, tiles in mel, channels of phases]."""
        counts, spans, padding = [], [], []
        for length, wanted, axis, before in zip(x.shape[1:3], size, (self.time, self.mel), (0, 1), strict=True):
            counts.append(-(-wanted // len(axis.outputs)))
            spans.append(axis.inputs.shape[1])
            reach = axis.step * ((counts[-1] - 1) * len(axis.outputs) + spans[-1])
            padding.append((before, reach - before - length))
        padded, channels = F.pad(x, (0, 0, *padding[1], *padding[0])), x.shape[3]
        tiles = x.new_empty(*spans, len(x), *counts, len(self.phases) * channels)
        for place, phase in enumerate(self.phases):
            tiles[..., place * channels : (place + 1) * channels] = self._phase(padded, phase, spans, counts)
        return tiles

    def _phase(self, padded: Tensor, phase: tuple[int, int], spans: list[int], counts: list[int]) -> Tensor:
        """Return a view of one phase: [time and mel in the tile, batch, tiles in time, tiles in mel, channels]."""
        batch, time, mel, channel = padded.stride()
        time, mel = time * self.time.step, mel * self.mel.step
        across = (time * len(self.time.outputs), mel * len(self.mel.outputs))
        start = padded[:, phase[0] :, phase[1] :]
        return start.as_strided((*spans, len(padded), *counts, padded.shape[3]), (time, mel, batch, *across, channel))


def _grouped(needed: npt.NDArray[np.bool_]) -> tuple[list[int], list[_Group]]:
    """Return the values' order by the phases that they need, and where each group of them is then.

    Args:
        needed: [values, phases].
    """
    members: dict[tuple[int, int], list[int]] = {}
    for value, phases in enumerate(needed):
        places = np.flatnonzero(phases)
        members.setdefault((int(places[0]), int(places[-1]) + 1), []).append(value)
    order, groups = list[int](), list[_Group]()
    for phases, values in members.items():
        groups.append(_Group(slice(len(order), len(order) + len(values)), slice(*phases)))
        order += values
    return order, groups


def _both_axes(time: Matrix, mel: Matrix) -> Tensor:
    return torch.from_numpy(np.kron(time, mel)).float()


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
