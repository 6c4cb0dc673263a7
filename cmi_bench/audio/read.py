"""Read an audio file with the first library that can."""

from pathlib import Path

import soundfile

from cmi_bench.audio import soundfile_reader, torchcodec_reader
from cmi_bench.audio.errors import AudioError
from cmi_bench.audio.samples import ALL, Samples, Start


def read_audio(path: Path, start: Start = ALL) -> Samples:
    """Read the start of a file: with libsndfile, or with torchcodec where libsndfile does not know the format.

    A file that libsndfile knows and finds damaged is not tried again: what can be had of it must not depend on
    what is installed.

    Args:
        path: The file.
        start: How much of it; nothing behind that is decoded.

    Raises:
        AudioError: The file is missing, unreadable, or holds no samples.
    """
    try:
        samples = soundfile_reader.read(path, start)
    except soundfile.LibsndfileError as error:
        try:
            samples = torchcodec_reader.read(path, start)
        except AudioError as other:
            raise unreadable(path, error, other) from other
    if not len(samples.values):
        raise AudioError(f"{path} holds no audio samples.", soundfile_reader.GET_AGAIN)
    return samples


def unreadable(path: Path, libsndfile: soundfile.LibsndfileError, torchcodec: AudioError) -> AudioError:
    """Return the error of a file that neither library can read."""
    return AudioError(
        f"Cannot decode {path}: libsndfile: {libsndfile.error_string} {torchcodec.what}",
        torchcodec.hint or "Check that the file is complete and that it is audio.",
    )
