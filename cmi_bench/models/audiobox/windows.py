"""The windows in which Audiobox Aesthetics listens to a clip."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class AudioWindow(NamedTuple):
    """A piece of a clip, filled up with silence."""

    samples: Tensor
    """float32 [size]."""
    is_clip: Tensor
    """bool [size], False for what is filled up."""
    weight: float
    """Share of it that is filled by the clip."""


def windows_of(waveform: Tensor, size: int) -> list[AudioWindow]:
    """Cut a waveform [samples] into windows of `size` samples, without overlap, as the package's own predictor does."""
    return [_filled_up(piece, size) for piece in torch.split(waveform, size)]


def _filled_up(piece: Tensor, size: int) -> AudioWindow:
    lacking = (0, size - len(piece))
    return AudioWindow(
        F.pad(piece, lacking), F.pad(torch.ones_like(piece, dtype=torch.bool), lacking), len(piece) / size
    )
