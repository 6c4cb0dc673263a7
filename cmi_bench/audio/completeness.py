"""Tell a file that was cut off from a whole one by its headers, container by container."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cmi_bench.audio.mpeg_frames import MpegFrames
from cmi_bench.audio.mpeg_stream import find_tag

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
    with path.open("rb") as file:
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
