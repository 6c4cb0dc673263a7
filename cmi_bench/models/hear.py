"""A clip's audio as a waveform, whichever way it was handed over."""

from pathlib import Path

import torch
from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode


def hear(audio: str | Path | Tensor, name: str, *, sr: int, seconds: float | None) -> Tensor:
    """Return a clip's waveform float32 [samples] on the CPU.

    Args:
        audio: A path, or a mono waveform at `sr` Hz, of which nothing is cut off.
        name: What to call it in messages.
        sr: Sampling rate, Hz.
        seconds: How much is decoded of a file; None for all.

    Raises:
        AudioError: It cannot be decoded, or is no mono waveform; the message names it.
    """
    if isinstance(audio, str | Path):
        return decode(audio, sr, seconds)
    waveform = torch.as_tensor(audio, dtype=torch.float32, device="cpu").detach()
    if waveform.ndim != 1:
        raise AudioError(
            f"{name} is a tensor of shape {list(waveform.shape)}; expected a mono waveform [samples].",
            "Average the channels first.",
        )
    return waveform
