"""The audio of inputs, as waveforms."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from cmi_bench.models.cmi_rm.chunks import too_short
from cmi_bench.models.cmi_rm.mel import MIN_SAMPLES
from cmi_bench.models.contract import AudioView
from cmi_bench.models.hear import hear


def listen(audio: str | Path | Tensor, name: str, *, sr: int, seconds: float | None, max_dur: float) -> Tensor:
    """Return a clip's waveform float32 [samples] on the CPU.

    Args:
        audio: A path, or a mono waveform at `sr` Hz.
        name: What to call it in messages.
        sr: Sampling rate, Hz.
        seconds: How much is decoded of a file; None for all.
        max_dur: Seconds of which something must be audible.

    Raises:
        AudioError: It cannot be decoded, is too short, or is no mono waveform; the message names it.
    """
    waveform = hear(audio, name, sr=sr, seconds=seconds)
    heard = min(len(waveform), int(max_dur * sr))
    if heard < MIN_SAMPLES:
        raise too_short(heard, sr, name)
    return waveform


class Heard(NamedTuple):
    """A piece of audio and how it is listened to."""

    digest: bytes
    """Of the samples."""
    view: AudioView
    waveform: Tensor
    """float32 [samples]."""
    is_reference: bool


def samples_digest(waveform: Tensor) -> bytes:
    """Return a name for a waveform [samples] on the CPU that only equal samples share."""
    return hashlib.sha256(waveform.contiguous().numpy().data).digest()
