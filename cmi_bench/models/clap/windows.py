"""The windows in which CLAP listens to a clip: fixed ones, where its own code crops at random."""

from torch import Tensor
from torch.nn import functional as F


def windows_of(waveform: Tensor, size: int) -> list[Tensor]:
    """Cut a waveform [samples] into windows of `size` samples that together are all of it.

    They follow each other without overlap, but the last one ends where the clip ends and may overlap the one before.
    A clip shorter than a window is repeated as often as it fits, and filled up with silence ("repeatpad", as in
    CLAP's training).
    """
    samples = len(waveform)
    if samples < size:
        repeated = waveform.repeat(size // samples)
        return [F.pad(repeated, (0, size - len(repeated)))]
    starts = list(range(0, samples - size + 1, size))
    if starts[-1] + size < samples:
        starts.append(samples - size)
    return [waveform[start : start + size] for start in starts]
