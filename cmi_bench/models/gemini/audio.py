"""What of a clip is sent: exactly its first seconds, as FLAC."""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import soundfile
from torch import Tensor

from cmi_bench.audio.decode import decode

Audio: TypeAlias = str | Tensor
"""A file, or a mono waveform float32 [samples]."""
MIME_TYPE = "audio/flac"


class Recording(NamedTuple):
    """Audio in the form in which it is sent."""

    content: bytes
    """FLAC: mono, 16 bits."""
    seconds: float


def record(audio: Audio, *, sr: int, max_dur: float) -> Recording:
    """Return the first seconds of a file, or of a waveform at `sr`.

    Args:
        audio: The file or the waveform.
        sr: Hz of what is sent. The service hears one channel at a low rate, whatever it is given.
        max_dur: Seconds from the start.

    Raises:
        AudioError: The file cannot be read.
    """
    waveform = decode(audio, sr, max_dur) if isinstance(audio, str) else audio
    samples = np.asarray(waveform, dtype=np.float32)[: int(max_dur * sr)]
    file = io.BytesIO()
    # What is louder than full scale is clipped: 16 bits cannot hold it.
    soundfile.write(file, np.clip(samples, -1.0, 1.0), sr, format="FLAC", subtype="PCM_16")
    return Recording(file.getvalue(), len(samples) / sr)


def digest(audio: Audio) -> str:
    """Return the SHA-256 of a file's bytes, or of a waveform's samples.

    Raises:
        OSError: The file cannot be read.
    """
    if isinstance(audio, str):
        with Path(audio).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(np.asarray(audio, dtype=np.float32).tobytes()).hexdigest()
