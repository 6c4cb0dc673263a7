"""Read an audio file with the first library that can.

libsndfile reads WAV, FLAC, OGG (Vorbis, Opus) and MP3, MP3 with bad headers included. FFmpeg, whose libraries PyAV
brings along, reads M4A/AAC, WebM, and what else libsndfile cannot.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from cmi_bench.audio.mp3 import MpegFrames, clean_stream, find_frames
from cmi_bench.audio.quiet import quiet_c_library
from cmi_bench.errors import UserError
from cmi_bench.utils.files import open_regular

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer


class DecodedAudio(NamedTuple):
    """Decoded audio, before anything is done to it."""

    values: npt.NDArray[np.float32]
    """[samples, channels]; full scale is 1, and what was louder stays louder."""
    sr: int
    """Hz."""
    decoder: str
    """Which library decoded it: "soundfile" or "av"."""

    def mono(self) -> npt.NDArray[np.float32]:
        """Return the mean of the channels: [samples]."""
        return self.values[:, 0] if self.values.shape[1] == 1 else _mean_of_channels(self.values)


def _mean_of_channels(
    values: npt.NDArray[np.float32], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Return the mean of channels [samples, channels], in the memory of `out` [samples] if that is given."""
    if values.shape[1] == 1:
        return np.positive(values[:, 0], out=out)
    # Channel by channel: over so short an axis torch's own mean takes 6 times as long, NumPy's 18 times.
    total = np.add(values[:, 0], values[:, 1], out=out)
    for channel in range(2, values.shape[1]):
        total += values[:, channel]
    total /= values.shape[1]
    return total


class Start(NamedTuple):
    """How much of a file is wanted, from its start."""

    seconds: float | None
    """None: all of it."""
    context: int = 0
    """Samples per channel beyond that."""

    def samples(self, sr: int) -> int | None:
        """Return the number of samples per channel at `sr` Hz, None for all."""
        return None if self.seconds is None else math.ceil(self.seconds * sr) + self.context


ALL = Start(seconds=None)


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read from its start to some end, and never sought in.

    In a file that can be sought in, soundfile seeks after each read to where it is: that takes time, and an MP3 decoder
    loses there what the next frame needs of the frames before, so that some 20 ms after it are wrong.
    """

    def seekable(self) -> bool:
        """Return False, whatever the file."""
        return False


class AudioError(UserError):
    """A file that cannot be decoded."""


SOUNDFILE = "soundfile"
MP3 = "MP3"
GET_AGAIN = "The file is damaged or cut off: get it again."
SAMPLING_RATES = (1_000, 1_000_000)
"""Hz, the lowest and the highest that are read: music is sampled at 8 to 768 kHz, and the work grows without bound
where a header says less or more."""
BLOCK = 1 << 16
"""Samples of all channels together that are decoded at a time: so many stay in a processor's cache until the channels
are averaged, and headers may claim any length and 1,024 channels."""
PART = 3 << 20
"""Samples that memory is reserved for at a time: what is shorter (71 s of 44.1 kHz, mono) is not copied again."""
MAX_MP3_BYTES = 1 << 29
"""Larger files are not searched for MP3 frames: nobody's song, but somebody's film."""
HEADERLESS = frozenset({".raw", ".pcm"})
SLACK_FRAMES = 8
"""What encoders put around the music, in MPEG frames: a length may differ by this much from the frames' number."""


def _read_soundfile(path: Path, start: Start, *, mono: bool) -> DecodedAudio:
    """Read the start of a file, and no more of it than that takes.

    Raises:
        AudioError: The file is damaged or cannot be opened.
        soundfile.LibsndfileError: libsndfile does not know the format.
    """
    with open_soundfile(path, start) as file:
        try:
            return _read_from_soundfile(file, start, mono=mono)
        except soundfile.LibsndfileError as error:
            # The MP3 decoder gives up on a file after a little rubbish between its frames.
            cleaned = _open_cleaned(path) if file.format == MP3 else None
            if cleaned is None:
                raise AudioError(f"Cannot decode {path}: {error.error_string}", GET_AGAIN) from error
    with cleaned:
        return _read_from_soundfile(cleaned, start, mono=mono)


def open_soundfile(path: Path, start: Start = ALL) -> soundfile.SoundFile:
    """Open a regular file so that what is wanted of it can be read.

    libsndfile reads an MP3 file as far as its first frame or its tag says that it goes. Where more is wanted than
    that, and the file holds more, its frames are put under a tag that tells the truth.

    Raises:
        AudioError: The file cannot be opened, or its sampling rate is not that of audio.
        soundfile.LibsndfileError: libsndfile does not know the format.
    """
    file = _open_as_it_is(path)
    if odd := _odd_rate(file.samplerate):
        file.close()
        raise AudioError(f"Cannot decode {path}: {odd}", "Get or make it again.")
    wanted = start.samples(file.samplerate)
    if file.format != MP3 or (wanted is not None and wanted <= file.frames):
        return file
    data = _whole(path)
    frames = find_frames(data)
    if frames is None or true_length(file.frames, frames) <= file.frames:
        return file
    file.close()
    return _open_stream(data, frames)


def _odd_rate(sr: int) -> str:
    low, high = SAMPLING_RATES
    return "" if low <= sr <= high else f"its sampling rate is {sr:,} Hz; {low:,} to {high:,} Hz are read."


def _open_as_it_is(path: Path) -> soundfile.SoundFile:
    """Open a file, or what is left of an MP3 file without what keeps libsndfile from its music."""
    try:
        # By its descriptor: what is opened is the regular file that was looked at, whatever its name says.
        with open_regular(path) as file:
            descriptor = os.dup(file.fileno())
    except OSError as error:
        raise AudioError(f"Cannot decode {path}: {error.strerror}.", "Check the path, or get the file.") from error
    if path.suffix.lower() in HEADERLESS:
        os.close(descriptor)
        raise AudioError(
            f"Cannot decode {path}: {path.suffix} files have no header that says what they hold.",
            "Convert it, such as with ffmpeg -f s16le -ar 44100 -ac 2 -i IN.raw OUT.wav.",
        )
    try:
        with quiet_c_library():
            return _ForwardFile(descriptor)  # closes it, also where that fails
    except soundfile.LibsndfileError:
        # A tag at the front that claims to be longer than the file keeps libsndfile from the music.
        cleaned = _open_cleaned(path)
        if cleaned is None:
            raise
        return cleaned


def _whole(path: Path) -> bytes:
    """Return a file's bytes; none of one that is too large for a song."""
    try:
        with open_regular(path) as file:
            return file.read() if os.fstat(file.fileno()).st_size <= MAX_MP3_BYTES else b""
    except OSError as error:
        raise AudioError(f"Cannot decode {path}: {error.strerror}.", GET_AGAIN) from error


def find_frames_of(path: Path, file: soundfile.SoundFile) -> "tuple[bytes, MpegFrames] | None":
    """Return an MP3 file's bytes and frames; None for other formats, and where there are none."""
    data = _whole(path) if file.format == MP3 else b""
    frames = find_frames(data)
    return None if frames is None else (data, frames)


def true_length(claimed: int, frames: MpegFrames) -> int:
    """Return the length of an MP3 file in samples per channel: as claimed, where that agrees with its frames."""
    counted = frames.total * frames.samples_per_frame
    return claimed if abs(counted - claimed) <= SLACK_FRAMES * frames.samples_per_frame else counted


def blocks(file: soundfile.SoundFile, wanted: int | None = None) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the samples of an open file, float32 [samples, channels], block by block, each in the memory of the last.

    Not `file.blocks`, and no array of the length that the header promises, whatever the file holds.

    Args:
        file: Read on from where it is.
        wanted: Samples per channel; None for all.

    Raises:
        soundfile.LibsndfileError: The file is damaged.
    """
    memory = np.empty((max(1, BLOCK // file.channels), file.channels), np.float32)
    promised, done = _promised(file, wanted), 0
    while done < promised and len(block := _read(file, memory[: promised - done])):
        yield block
        done += len(block)
    if done < promised:  # of a FLAC file that ends too soon, only this says that it is damaged
        file.seek(done)


def _promised(file: soundfile.SoundFile, wanted: int | None) -> int:
    """Return how many samples per channel are to come of what is wanted, as the header says."""
    return int(file.frames if wanted is None else min(wanted, file.frames))


def _read(file: soundfile.SoundFile, memory: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with quiet_c_library() if file.format == MP3 else contextlib.nullcontext():
        block: npt.NDArray[np.float32] = file.read(len(memory), dtype="float32", out=memory)
        return block


def _read_from_soundfile(file: soundfile.SoundFile, start: Start, *, mono: bool) -> DecodedAudio:
    wanted, channels = start.samples(file.samplerate), 1 if mono else file.channels
    parts = [np.empty((min(_promised(file, wanted), max(PART // channels, 1)), channels), np.float32)]
    filled = 0
    for block in blocks(file, wanted):
        if filled + len(block) > len(parts[-1]):
            parts[-1] = parts[-1][:filled]
            parts.append(np.empty((max(len(parts[0]), len(block)), channels), np.float32))
            filled = 0
        target = parts[-1][filled : filled + len(block)]
        if mono:
            _mean_of_channels(block, out=target[:, 0])
        else:
            target[:] = block
        filled += len(block)
    parts[-1] = parts[-1][:filled]
    return DecodedAudio(parts[0] if len(parts) == 1 else np.concatenate(parts), file.samplerate, SOUNDFILE)


def _open_cleaned(path: Path) -> soundfile.SoundFile | None:
    """Open the MP3 frames of a file without whatever is between them; None where that is no MP3 file."""
    data = _whole(path)
    frames = find_frames(data)
    # Three frames in a row may turn up in anything; a file of music is made of little else.
    return None if frames is None or frames.size < len(data) / 2 else _open_stream(data, frames)


def _open_stream(data: bytes, frames: MpegFrames) -> soundfile.SoundFile:
    with quiet_c_library():
        return _ForwardFile(io.BytesIO(clean_stream(data, frames)))


PYAV = "av"
FLOATS = "fltp"
"""FFmpeg's name of float32 samples, [channels, samples]."""


@contextlib.contextmanager
def open_pyav(path: Path) -> Iterator[tuple["InputContainer", "AudioStream"]]:
    """Open a file with FFmpeg's libraries, which PyAV brings along; yields it and its first audio stream.

    Raises:
        AudioError: The file holds no audio that FFmpeg knows, or is damaged where it is read.
    """
    import av  # 0.1 s, which a benchmark of WAV and MP3 files need not wait for

    try:
        # Some formats (playlists) name other files. FFmpeg gets this one open and no protocol for others: neither files
        # of this machine nor the network are read on the word of a file.
        with (
            open_regular(path) as file,
            av.open(file, "r", options={"protocol_whitelist": "none"}, metadata_errors="ignore") as container,
        ):
            if not container.streams.audio:
                raise AudioError("FFmpeg: there is no audio in it.")
            if odd := _odd_rate(container.streams.audio[0].codec_context.sample_rate):
                raise AudioError(f"FFmpeg: {odd}")
            yield container, container.streams.audio[0]
    except (av.FFmpegError, ValueError) as error:  # ValueError: the form of the samples changes on the way
        raise AudioError(f"FFmpeg: {getattr(error, 'strerror', None) or error}.") from error


def _read_pyav(path: Path, start: Start, *, mono: bool) -> DecodedAudio:
    """Read the start of a file, and no more of it than that takes.

    Raises:
        AudioError: As for `open_pyav`.
    """
    import av

    blocks: list[npt.NDArray[np.float32]] = []
    with open_pyav(path) as (container, stream):
        to_floats = av.AudioResampler(format=FLOATS)
        wanted, count = start.samples(stream.codec_context.sample_rate), 0
        for frame in container.decode(stream):
            for block in [frame] if frame.format.name == FLOATS else to_floats.resample(frame):
                samples = block.to_ndarray().astype(np.float32, copy=False)
                blocks.append(_mean_of_channels(samples.T)[None] if mono else samples)
                count += block.samples
            if wanted is not None and count >= wanted:
                break
        values = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), np.float32)
        return DecodedAudio(np.ascontiguousarray(values.T[:wanted]), stream.codec_context.sample_rate, PYAV)


def read_audio(path: Path, start: Start = ALL, *, mono: bool = False) -> DecodedAudio:
    """Read the start of a file: with libsndfile, or with FFmpeg where libsndfile does not know the format.

    A file that libsndfile knows and finds damaged is not tried again: what can be had of it must not depend on
    what is installed.

    Args:
        path: The file.
        start: How much of it; nothing behind that is decoded.
        mono: Average the channels while reading, so that memory does not grow with their number.

    Raises:
        AudioError: The file is missing, no regular file, unreadable, or holds no samples.
    """
    try:
        samples = _read_soundfile(path, start, mono=mono)
    except soundfile.LibsndfileError as error:
        try:
            samples = _read_pyav(path, start, mono=mono)
        except AudioError as other:
            raise unreadable(path, error, other) from other
    if not len(samples.values):
        raise AudioError(f"{path} holds no audio samples.", GET_AGAIN)
    return samples


def unreadable(path: Path, libsndfile: soundfile.LibsndfileError, ffmpeg: AudioError) -> AudioError:
    """Return the error of a file that neither library can read."""
    return AudioError(
        f"Cannot decode {path}: libsndfile: {libsndfile.error_string} {ffmpeg.what}",
        "Check that the file is complete and that it is audio.",
    )


def decoder_versions() -> dict[str, str]:
    """Return the versions of the libraries, by name, in the order in which they are asked."""
    return {SOUNDFILE: f"{soundfile.__version__}, {soundfile.__libsndfile_version__}", PYAV: version(PYAV)}
