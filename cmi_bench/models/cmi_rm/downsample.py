"""Shorten a sequence before attention sees it.

Every sequence is shortened by itself, without padding: what the end of a sequence becomes depends on where it
ends, so a padded batch would need masks through every convolution to say the same.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.downsample_config import DownsampleConfig


def trim(x: Tensor, factor: int) -> Tensor:
    """Cut a sequence [length, dim] to a multiple of `factor`."""
    return x[: len(x) // factor * factor]


def window_means(x: Tensor, factor: int) -> Tensor:
    """Average windows of `factor` positions: [length, dim] to [length // factor, dim]."""
    return trim(x, factor).view(len(x) // factor, factor, -1).mean(dim=1) if len(x) >= factor else x[:0]


class Mean(nn.Module):
    """The means of windows."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // factor, dim]."""
        return window_means(x, self.factor)


class MeanMlp(nn.Module):
    """The means of windows, through an MLP; or the means of what the MLP makes of each position."""

    def __init__(self, dim: int, config: DownsampleConfig) -> None:
        super().__init__()
        hidden = int(dim * config.mlp_ratio)
        self.factor = config.factor
        self.mlp_first = config.pre_mlp
        # Position 2 is where training has its dropout.
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Identity(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // factor, dim]."""
        shorter: Tensor = (
            window_means(self.mlp(x), self.factor) if self.mlp_first else self.mlp(window_means(x, self.factor))
        )
        return shorter


class ConvBlock(nn.Module):
    """Depthwise convolution with a stride, norm, SiLU; gated by a pointwise convolution before it if asked."""

    def __init__(self, dim: int, stride: int, config: DownsampleConfig, *, gated: bool = False) -> None:
        super().__init__()
        kernel = config.kernel_size
        self.stride = stride
        self.gated = gated
        if gated:
            self.pw1 = nn.Conv1d(dim, 2 * dim, 1, bias=False)
        self.dw = nn.Conv1d(dim, dim, kernel, stride=stride, padding=(kernel - 1) // 2, groups=dim, bias=False)
        self.ln = nn.LayerNorm(dim) if config.use_layernorm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // stride, dim]."""
        x = trim(x, self.stride)
        if not len(x):
            return x
        channels = x.transpose(0, 1)
        if self.gated:
            channels = F.glu(self.pw1(channels), dim=0)
        return F.silu(self.ln(self.dw(channels).transpose(0, 1)))


class Conv(nn.Module):
    """One block, applied `stage` times: its weights have a name for each."""

    def __init__(self, dim: int, config: DownsampleConfig) -> None:
        super().__init__()
        self.factor = config.factor
        self.blocks = nn.ModuleList([ConvBlock(dim, config.factor, config)] * config.stage)

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // factor // factor ..., dim], once for each stage."""
        if self.factor == 1:
            return x
        for block in self.blocks:
            x = block(x)
        return x


class TwoConv(nn.Module):
    """Two blocks whose strides multiply to the factor; with gates also a last pointwise convolution."""

    def __init__(self, dim: int, config: DownsampleConfig, *, gated: bool) -> None:
        super().__init__()
        first, second = two_strides(config.factor)
        self.factor = config.factor
        self.block1 = ConvBlock(dim, first, config, gated=gated)
        self.block2 = ConvBlock(dim, second, config, gated=gated)
        self.final_pw = nn.Conv1d(dim, dim, 1, bias=False) if gated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // stride 1 // stride 2, dim]."""
        if self.factor == 1:
            return x
        x = self.block2(self.block1(x))
        return self.final_pw(x.transpose(0, 1)).transpose(0, 1) if len(x) else x


def two_strides(factor: int) -> tuple[int, int]:
    """Split a factor into two strides, the larger as small as can be; a 3 comes first, else the smaller.

    >>> [two_strides(factor) for factor in (4, 5, 6, 8, 9)]
    [(2, 2), (1, 5), (3, 2), (2, 4), (3, 3)]
    """
    smaller = max(d for d in range(1, math.isqrt(factor) + 1) if factor % d == 0)
    larger = factor // smaller
    return (larger, smaller) if larger == 3 else (smaller, larger)


def build_downsampler(dim: int, config: DownsampleConfig) -> nn.Module:
    """Return the module [length, dim] -> [shorter, dim] that a configuration describes."""
    match config.kind:
        case "none":
            return nn.Identity()
        case "mean":
            return Mean(config.factor)
        case "mean_mlp":
            return MeanMlp(dim, config)
        case "conv":
            return Conv(dim, config)
        case "two_conv" | "two_glu_conv":
            return TwoConv(dim, config, gated=config.kind == "two_glu_conv")
    raise ValueError(f"Unknown kind of downsampler {config.kind!r}")
