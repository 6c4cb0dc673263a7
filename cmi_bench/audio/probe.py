"""What an audio file is, without decoding it; nothing here needs torch but files that libsndfile does not know."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import soundfile

from cmi_bench.audio import soundfile_reader, torchcodec_reader
from cmi_bench.audio.completeness import is_cut, is_mp3_cut
from cmi_bench.audio.errors import AudioError
from cmi_bench.audio.mpeg_frames import find_frames
from cmi_bench.audio.read import unreadable
from cmi_bench.audio.samples import Start

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
    """Which library decodes it: "soundfile" or "torchcodec"."""
    is_cut: bool
    """Whether the file ends before the audio does."""


def probe(path: Path) -> AudioFacts:
    """Return what an audio file is.

    Raises:
        AudioError: The file is missing or of no format that is known here.
    """
    try:
        with soundfile_reader.open_audio(path, NOTHING) as file:
            extent = _extent(path, file)
            return AudioFacts(
                seconds=extent.samples / file.samplerate,
                sample_rate=file.samplerate,
                channels=file.channels,
                container=file.format,
                codec=file.subtype,
                decoder=soundfile_reader.NAME,
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
    data = path.read_bytes() if file.format == soundfile_reader.MP3 else b""
    frames = find_frames(data)
    if frames is None:
        return _Extent(int(file.frames), is_cut(path, file.format))
    return _Extent(soundfile_reader.true_length(file.frames, frames), is_mp3_cut(data, frames))


def _probe_other(path: Path) -> AudioFacts:
    metadata = torchcodec_reader.open_audio(path).metadata
    return AudioFacts(
        seconds=float(metadata.duration_seconds or 0.0),
        sample_rate=int(metadata.sample_rate or 0),
        channels=int(metadata.num_channels or 0),
        container=path.suffix.removeprefix(".").upper(),
        codec=str(metadata.codec),
        decoder=torchcodec_reader.NAME,
        is_cut=False,
    )
