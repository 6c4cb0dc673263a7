"""The windows in which MuQ-MuLan listens to a clip."""

import torch
from torch import Tensor


def windows_of(waveform: Tensor, size: int) -> list[Tensor]:
    """Cut a waveform [samples] into windows of `size` samples, without overlap, as MuQ-MuLan's own code does.

    The last window is filled up from the clip's start, as far as that reaches: of a clip shorter than half
    a window the only one is the clip twice.
    """
    cut = list(torch.split(waveform, size))
    lacking = size - len(cut[-1])
    if lacking:
        cut[-1] = torch.cat((cut[-1], waveform[:lacking]))
    return cut
