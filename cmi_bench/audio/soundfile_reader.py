"""Read audio with libsndfile: WAV, FLAC, OGG (Vorbis, Opus) and MP3, MP3 with bad headers included."""

import io
from pathlib import Path

import soundfile

from cmi_bench.audio.errors import AudioError
from cmi_bench.audio.mpeg_frames import MpegFrames, find_frames
from cmi_bench.audio.mpeg_stream import clean_stream
from cmi_bench.audio.samples import ALL, Samples, Start

NAME = "soundfile"
MP3 = "MP3"
GET_AGAIN = "The file is damaged or cut off: get it again."
SLACK_FRAMES = 8
"""What encoders put around the music, in MPEG frames: a length may differ by this much from the frames' number."""


def read(path: Path, start: Start) -> Samples:
    """Read the start of a file, and no more of it than that takes.

    Raises:
        AudioError: The file is damaged or cannot be opened.
        soundfile.LibsndfileError: libsndfile does not know the format.
    """
    with open_audio(path, start) as file:
        try:
            return _read_from(file, start)
        except soundfile.LibsndfileError as error:
            # The MP3 decoder gives up on a file after a little rubbish between its frames.
            cleaned = _open_cleaned(path) if file.format == MP3 else None
            if cleaned is None:
                raise AudioError(f"Cannot decode {path}: {error.error_string}", GET_AGAIN) from error
    with cleaned:
        return _read_from(cleaned, start)


def open_audio(path: Path, start: Start = ALL) -> soundfile.SoundFile:
    """Open a file so that what is wanted of it can be read.

    libsndfile reads an MP3 file as far as its first frame or its tag says that it goes. Where more is wanted than
    that, and the file holds more, its frames are put under a tag that tells the truth.

    Raises:
        AudioError: The file cannot be opened.
        soundfile.LibsndfileError: libsndfile does not know the format.
    """
    try:
        path.open("rb").close()  # libsndfile would say "System error." of a file that is not there or not readable
    except OSError as error:
        raise AudioError(f"Cannot decode {path}: {error.strerror}.", "Check the path, or get the file.") from error
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        # A tag at the front that claims to be longer than the file keeps libsndfile from the music.
        cleaned = _open_cleaned(path)
        if cleaned is None:
            raise
        return cleaned
    wanted = start.samples(file.samplerate)
    if file.format != MP3 or (wanted is not None and wanted <= file.frames):
        return file
    data = path.read_bytes()
    frames = find_frames(data)
    if frames is None or true_length(file.frames, frames) <= file.frames:
        return file
    file.close()
    return _open_stream(data, frames)


def true_length(claimed: int, frames: MpegFrames) -> int:
    """Return the length of an MP3 file in samples per channel: as claimed, where that agrees with its frames."""
    counted = frames.total * frames.samples_per_frame
    return claimed if abs(counted - claimed) <= SLACK_FRAMES * frames.samples_per_frame else counted


def _read_from(file: soundfile.SoundFile, start: Start) -> Samples:
    wanted = start.samples(file.samplerate)
    values = file.read(-1 if wanted is None else wanted, dtype="float32", always_2d=True)
    return Samples(values, file.samplerate, NAME)


def _open_cleaned(path: Path) -> soundfile.SoundFile | None:
    """Open the MP3 frames of a file without whatever is between them; None where that is no MP3 file."""
    data = path.read_bytes()
    frames = find_frames(data)
    # Three frames in a row may turn up in anything; a file of music is made of little else.
    return None if frames is None or frames.size < len(data) / 2 else _open_stream(data, frames)


def _open_stream(data: bytes, frames: MpegFrames) -> soundfile.SoundFile:
    return soundfile.SoundFile(io.BytesIO(clean_stream(data, frames)))
