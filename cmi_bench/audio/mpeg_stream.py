"""Make an MP3 file whole again for libsndfile: its frames alone, under a tag that counts them."""

from typing import NamedTuple

from cmi_bench.audio.mpeg_frames import FRAME_BYTES, HEADER_BYTES, MpegFrames

TAGS = (b"Xing", b"Info")
FRAMES_FLAG = 1
_TAG_SEARCH = 64
"""The tag lies 4 + 9 to 4 + 32 bytes into the first frame, by version and channels."""
_SIDE_INFO = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
"""Bytes of side information by (MPEG-1, mono)."""
_MONO = 0b11
_TAG_BITRATE = 9
"""Bitrate index of a tag's frame: 128 or 80 kbit/s, so that it is long enough for the tag at any sampling rate."""
_DECODER_DELAY = 529
"""Samples that a decoder adds at the start, and takes away, with the encoder's own, where a tag says so."""


class Tag(NamedTuple):
    """The Xing tag (LAME's calls itself "Info" in files of constant bitrate) in a stream's first frame."""

    position: int
    """Offset in the file, bytes."""
    frames: int
    """How many frames it says follow; 0 where it does not say."""


def find_tag(data: bytes, frames: MpegFrames) -> Tag | None:
    """Return the tag in the first frame, if there is one."""
    start = frames.runs[0].start
    for name in TAGS:
        position = data.find(name, start, start + _TAG_SEARCH)
        if position >= 0:
            flags = int.from_bytes(data[position + 4 : position + 8], "big")
            count = int.from_bytes(data[position + 8 : position + 12], "big")
            return Tag(position, count if flags & FRAMES_FLAG else 0)
    return None


def clean_stream(data: bytes, frames: MpegFrames) -> bytes:
    """Return the frames of a file, without what is between them, under a tag that gives their number.

    The samples are those that a decoder finds in the file itself, as far as it gets: an encoder's own tag is
    kept with its count corrected, as it says where the music begins within the first frame; where there is none,
    or one that counts nothing, decoders begin with the first sample, and the tag made here has them do so.
    """
    stream = b"".join(data[run.start : run.end] for run in frames.runs)
    tag = find_tag(data, frames)
    if tag is not None and tag.frames:
        count = tag.position - frames.runs[0].start + 8
        return stream[:count] + (frames.total - 1).to_bytes(4, "big") + stream[count + 4 :]
    if tag is not None:
        stream = stream[FRAME_BYTES[int.from_bytes(stream[1:3], "big")] :]
    return _lead(stream[:HEADER_BYTES], frames.total - (tag is not None), frames.samples_per_frame) + stream


def _lead(header: bytes, count: int, samples_per_frame: int) -> bytes:
    """Return a frame with a tag and a silent one, both like the frames that begin with `header`.

    The tag says that as much is to be left out at the start as the silent frame is long.
    """
    second, third, fourth = header[1] | 1, _TAG_BITRATE << 4 | header[2] & 0x0C, header[3]
    length = FRAME_BYTES[second << 8 | third]
    side_info = _SIDE_INFO[(second >> 3) & 0b11 == 0b11, fourth >> 6 == _MONO]
    silence = bytes((0xFF, second, third, fourth)) + bytes(side_info)
    # LAME's extension of the tag: its name, eleven bytes of settings, and 12 bits each of delay and padding.
    delay = (samples_per_frame - _DECODER_DELAY) << 12
    extension = b"LAME3.100" + bytes(12) + delay.to_bytes(3, "big")
    tag = TAGS[0] + FRAMES_FLAG.to_bytes(4, "big") + (count + 1).to_bytes(4, "big") + extension
    return (silence + tag).ljust(length, b"\0") + silence.ljust(length, b"\0")
