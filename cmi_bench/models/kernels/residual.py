"""The front end's residual blocks after their normalisations were folded into the convolutions: whole, and in strips.

In strips what is between the convolutions stays in the processor's cache, and no image as large as the result is made
for it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.batching import exact
from cmi_bench.models.kernels.packed import make_linear
from cmi_bench.models.kernels.winograd import WinogradConv, in_strips


class FoldedResidual(nn.Module):
    """A `ResidualConv2d` without normalisations."""

    def __init__(self, main: nn.Conv2d, shortcut: nn.Conv2d, second: nn.Conv2d) -> None:
        """Take the convolutions: the two of the input, and the main path's other one."""
        super().__init__()
        self.main = main
        self.shortcut = shortcut
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels_in, mel, time] as `ResidualConv2d` does."""
        shortcut: Tensor = self.shortcut(x)
        return shortcut.add_(self.second(self.main(x).relu_())).relu_()


class EntryOfOne(nn.Module):
    """3x3 convolutions of an image of one channel, with padding 1, as products with its patches.

    Winograd's transforms would be more work than products are saved.
    """

    def __init__(self, weight: Tensor, bias: Tensor, stride: tuple[int, int]) -> None:
        """Take float32 weights [channels out, 1, 3, 3] and bias [channels out]."""
        super().__init__()
        self.stride = stride
        self.product = make_linear(weight.flatten(1), bias)

    def columns(self, x: Tensor, columns: slice) -> Tensor:
        """Map [batch, 1, height, width] to some columns [batch, rows, columns, channels out], float32."""
        down, across = self.stride
        first, last = across * columns.start - 1, across * (columns.stop - 1) + 2  # of the samples
        samples = F.pad(x[:, 0, :, max(first, 0) : last], (max(-first, 0), max(last - x.shape[-1], 0), 1, 1))
        patches = samples.float().unfold(1, 3, down).unfold(2, 3, across)
        found: Tensor = self.product(patches.flatten(3))
        return found


class ResidualInStrips(nn.Module):
    """A `ResidualConv2d` without normalisations, in float32 on the CPU: strips of some columns, each by one thread."""

    def __init__(self, entry: EntryOfOne | WinogradConv, second: WinogradConv) -> None:
        """Take the convolutions.

        Args:
            entry: Of the input, to twice the channels: the main path's, then the shortcut's. Winograd's is computed
                for the whole image, as strips would have tiles at their edges in common.
            second: The main path's other one.
        """
        super().__init__()
        self.entry = entry
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels_in, mel, time] as `ResidualConv2d` does, channels last in memory."""
        x = x.to(self.second.dtype)
        height, width = (-(-size // step) for size, step in zip(x.shape[2:], self.entry.stride, strict=True))
        out = x.new_empty(len(x), height, width, self.second.width)

        def compute(columns: slice) -> None:
            around = slice(max(columns.start - 1, 0), min(columns.stop + 1, width))
            own = slice(columns.start - around.start, columns.stop - around.start)
            main, shortcut = entries(around)
            added = self.second.outputs(main, own, height).to(out.dtype)
            torch.add(shortcut[:, :, own], added, out=out[:, :, columns]).relu_()

        with exact(x.device):
            entries = self._entries(x)
            in_strips(compute, width, self.second.strip(height))
        return out.permute(0, 3, 1, 2)

    def _entries(self, x: Tensor) -> Callable[[slice], tuple[Tensor, Tensor]]:
        """Return what gives columns of both paths, [batch, height, columns, channels]: rectified main, shortcut."""
        entry = self.entry
        if isinstance(entry, WinogradConv):
            whole, rest = entry(x).permute(0, 2, 3, 1).chunk(2, dim=-1)
            whole.relu_()
            return lambda columns: (whole[:, :, columns], rest[:, :, columns])

        def computed(columns: slice) -> tuple[Tensor, Tensor]:
            main, shortcut = entry.columns(x, columns).to(x.dtype).chunk(2, dim=-1)
            return main.relu_(), shortcut

        return computed
