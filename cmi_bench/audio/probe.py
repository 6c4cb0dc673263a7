"""What an audio file is: its headers, whether it was cut off, and what decoding all of it tells.

Headers need no decoding, and nothing here needs torch but files that libsndfile does not know.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from cmi_bench.audio import readers
from cmi_bench.audio.mp3 import MpegFrames, find_tag
from cmi_bench.audio.readers import AudioError, Start, read_audio, unreadable
from cmi_bench.utils.files import open_regular

CHUNK_HEADER = 8
UNKNOWN_SIZE = 0xFFFFFFFF
"""What is written as a chunk's size by programs that do not know it in advance."""
OGG_PAGE_MAX = 65307
OGG_HEADER = 27
OGG_LAST = 4
"""Flag of the last page of a stream (RFC 3533)."""


def is_cut(path: Path, container: str) -> bool:
    """Tell whether a file ends before its audio does, as far as headers say.

    Args:
        path: The file.
        container: libsndfile's name of its format. Of FLAC only decoding tells; for MP3 see `is_mp3_cut`.
    """
    check = _CHECKS.get(container)
    if check is None:
        return False
    with open_regular(path) as file:
        return check(file)


def _is_wav_cut(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    position = 12
    while position + CHUNK_HEADER <= size:
        file.seek(position)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name == b"data":
            return length != UNKNOWN_SIZE and position + CHUNK_HEADER + length > size
        position += CHUNK_HEADER + length + length % 2
    return True


def _is_ogg_cut(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    file.seek(max(0, size - OGG_PAGE_MAX))
    end = file.read()
    start = end.rfind(b"OggS")
    page = end[start:]
    if start < 0 or len(page) < OGG_HEADER:
        return True
    segments = page[26]
    length = OGG_HEADER + segments + sum(page[OGG_HEADER : OGG_HEADER + segments])
    return not page[5] & OGG_LAST or len(page) < length


def is_mp3_cut(data: bytes, frames: MpegFrames) -> bool:
    """Tell whether an MP3 file ends within a frame, or has fewer frames than its tag says."""
    tag = find_tag(data, frames)
    # The tag counts the frames after its own; encoders differ about one more or less.
    return frames.is_cut or (tag is not None and tag.frames > frames.total)


_CHECKS: dict[str, Callable[[BinaryIO], bool]] = {
    "WAV": _is_wav_cut,
    "WAVEX": _is_wav_cut,
    "OGG": _is_ogg_cut,
}


MICROSECONDS = 1_000_000
"""FFmpeg's unit of a container's length."""
UNTIMED = "aac"
"""Raw AAC: its length is estimated from its bit rate unless its packets are counted."""
NOTHING = Start(seconds=0.0)
"""Of the samples."""


@dataclass(frozen=True)
class AudioFacts:
    """What the headers of a file say, put right where its frames say otherwise."""

    seconds: float
    sample_rate: int
    """Hz."""
    channels: int
    container: str
    """As libsndfile calls it, such as "MP3", or the file's suffix where another library reads it."""
    codec: str
    """As the library calls it, such as "PCM_16", "VORBIS" or "aac"."""
    decoder: str
    """Which library decodes it: "soundfile" or "av"."""
    is_cut: bool
    """Whether the file ends before the audio does."""


def probe(path: Path) -> AudioFacts:
    """Return what an audio file is.

    Raises:
        AudioError: The file is missing or of no format that is known here.
    """
    try:
        with readers.open_soundfile(path, NOTHING) as file:
            extent = _extent(path, file)
            return AudioFacts(
                seconds=extent.samples / file.samplerate,
                sample_rate=file.samplerate,
                channels=file.channels,
                container=file.format,
                codec=file.subtype,
                decoder=readers.SOUNDFILE,
                is_cut=extent.is_cut,
            )
    except soundfile.LibsndfileError as error:
        try:
            return _probe_other(path)
        except AudioError as other:
            raise unreadable(path, error, other) from other


class _Extent(NamedTuple):
    samples: int
    """Per channel."""
    is_cut: bool


def _extent(path: Path, file: soundfile.SoundFile) -> _Extent:
    """Return how long a file is and whether it was cut off: of MP3 by its frames, not by its header."""
    found = readers.find_frames_of(path, file)
    if found is None:
        return _Extent(int(file.frames), is_cut(path, file.format))
    data, frames = found
    return _Extent(readers.true_length(file.frames, frames), is_mp3_cut(data, frames))


def _probe_other(path: Path) -> AudioFacts:
    with readers.open_pyav(path) as (container, stream):
        length = stream.duration or 0
        if container.format.name == UNTIMED:
            length = sum(packet.duration or 0 for packet in container.demux(stream))
        return AudioFacts(
            seconds=float(length * (stream.time_base or 0)) or (container.duration or 0) / MICROSECONDS,
            sample_rate=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
            container=path.suffix.removeprefix(".").upper(),
            codec=stream.codec_context.name,
            decoder=readers.PYAV,
            is_cut=False,
        )


class Measured(NamedTuple):
    """What is in a file."""

    seconds: float
    """How much of it could be decoded."""
    peak: float
    """Largest absolute sample, 1 being full scale; NaN where a sample is no number."""


def measure(path: Path) -> Measured:
    """Decode all of a file.

    Raises:
        AudioError: It is missing, damaged, or of no format that is known here.
    """
    try:
        with readers.open_soundfile(path) as file:
            decoded, peak = 0, 0.0
            for block in readers.blocks(file):
                decoded, peak = decoded + len(block), max_abs(block, peak)
            return Measured(decoded / file.samplerate, peak)
    except soundfile.LibsndfileError:
        # Of no format of libsndfile's, or damaged: the reader knows what can be had of it.
        samples = read_audio(path)
        return Measured(len(samples.values) / samples.sr, max_abs(samples.values, 0.0))


def max_abs(values: npt.NDArray[np.float32], floor: float) -> float:
    """Return the largest absolute value, at least `floor`; NaN where there is one."""
    # Two passes cost less than an array of absolute values.
    return float(np.maximum(np.maximum(values.max(initial=0.0), -values.min(initial=0.0)), floor))
