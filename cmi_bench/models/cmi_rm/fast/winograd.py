"""3x3 convolution with fewer multiplications: 2.25 instead of 9 for each output, with stride two 5.06."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.fast.cook_toom import BY_STRIDE, Matrix

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
