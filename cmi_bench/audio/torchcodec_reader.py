"""Read audio with torchcodec and FFmpeg, where they are installed: M4A/AAC, WebM, and what else libsndfile cannot."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cmi_bench.audio.errors import AudioError
from cmi_bench.audio.samples import Samples, Start

if TYPE_CHECKING:
    from torchcodec.decoders import AudioDecoder

NAME = "torchcodec"
INSTALL = "pip install '.[codec]', and FFmpeg from the system's packages (apt-get install ffmpeg)"


def torchcodec_version() -> str | None:
    """Return the version that is installed, None if none is; nothing is imported."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return None


def open_audio(path: Path) -> "AudioDecoder":
    """Open a file.

    Raises:
        AudioError: torchcodec is not installed, does not find FFmpeg, or cannot read the file.
    """
    if torchcodec_version() is None:
        raise AudioError("torchcodec, which reads M4A/AAC and more, is not installed.", f"{INSTALL}.")
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, OSError, RuntimeError) as error:  # its way of saying that there is no FFmpeg, by version
        reason = str(error).strip().splitlines()[0]
        raise AudioError(f"torchcodec cannot be loaded: {reason}", f"It needs FFmpeg: {INSTALL}.") from error
    try:
        return AudioDecoder(str(path))
    except (RuntimeError, ValueError) as error:
        raise AudioError(f"torchcodec: {_reason(error)}") from error


def read(path: Path, start: Start) -> Samples:
    """Read the start of a file, and no more of it than that takes.

    Raises:
        AudioError: As for `open_audio`, or the file is damaged.
    """
    decoder = open_audio(path)
    sr = int(decoder.metadata.sample_rate or 0)
    wanted = start.samples(sr)
    try:
        if wanted is None:
            values = decoder.get_all_samples().data
        else:
            # Times are those of the container, which may begin a little after 0: a second more, then cut by count.
            begin = decoder.metadata.begin_stream_seconds_from_header or 0.0
            played = decoder.get_samples_played_in_range(begin, begin + wanted / sr + 1.0)
            values = played.data[:, :wanted]
    except (RuntimeError, ValueError) as error:
        raise AudioError(f"torchcodec: {_reason(error)}") from error
    return Samples(np.ascontiguousarray(values.numpy().T, dtype=np.float32), sr, NAME)


def _reason(error: Exception) -> str:
    """Return the last clause of torchcodec's message, which begins with places in its own source."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rpartition(", ")[2]
