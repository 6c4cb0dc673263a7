"""Find the frames of an MP3 stream, whatever lies before, between and after them, and make the file whole.

An MP3 file has no table of contents: it is a row of frames, each with a header of four bytes (ISO/IEC
11172-3, 2.4.1.3) that says how long it is. Decoders believe a file's first frame or its Xing tag about the
length of the whole, and libsndfile reads no further than that; counting the frames tells the truth. A file that
libsndfile would misread is handed to it as its frames alone, under a tag that counts them.
"""

from collections.abc import Iterator
from typing import NamedTuple

SYNC = b"\xff"
HEADER_BYTES = 4
CHAIN = 3
"""So many frames in a row, each where the one before says, are no accident."""

# Layer III; kbit/s by the header's bitrate index, for MPEG-1 and for MPEG-2 and 2.5.
_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES = {0b11: (44100, 48000, 32000), 0b10: (22050, 24000, 16000), 0b00: (11025, 12000, 8000)}
"""Hz by the header's version bits: MPEG-1, MPEG-2, MPEG-2.5."""
_LAYER_III = 0b01
SAME_STREAM = 0xFE0C
"""What the second and third header byte share in all frames of a stream: sync, version, layer, sampling rate."""


def _frame_bytes(header: int) -> int:
    """Return the length of the frame whose second and third byte are `header`, 0 if that is no Layer III header."""
    version, layer = (header >> 11) & 0b11, (header >> 9) & 0b11
    rate_index, padding = (header >> 2) & 0b11, (header >> 1) & 1
    if header >> 13 != 0b111 or layer != _LAYER_III or version not in _RATES or rate_index == 0b11:
        return 0
    kilobits = _BITRATES[1 if version == 0b11 else 2][(header >> 4) & 0b1111]
    slots = 144 if version == 0b11 else 72
    return slots * kilobits * 1000 // _RATES[version][rate_index] + padding if kilobits else 0


FRAME_BYTES = tuple(_frame_bytes(header) for header in range(1 << 16))
"""Length of a frame by its header's second and third byte; 0 for what is no header."""


class FrameRun(NamedTuple):
    """Frames that follow one another without a gap."""

    start: int
    """Offset of the first frame, bytes."""
    end: int
    """Offset after the last frame, bytes."""
    frames: int


class MpegFrames(NamedTuple):
    """The frames of a file."""

    runs: tuple[FrameRun, ...]
    is_cut: bool
    """Whether the file ends within a frame."""
    samples_per_frame: int
    """Per channel: 1152 (MPEG-1) or 576."""

    @property
    def total(self) -> int:
        """The number of whole frames."""
        return sum(run.frames for run in self.runs)

    @property
    def size(self) -> int:
        """The length of all whole frames together, bytes."""
        return sum(run.end - run.start for run in self.runs)


def find_frames(data: bytes) -> MpegFrames | None:
    """Return the Layer III frames of a file, None if it has no three in a row."""
    runs = tuple(_runs(data))
    if not runs:
        return None
    last = runs[-1]
    length = FRAME_BYTES[_header(data, last.end)] if data[last.end : last.end + 1] == SYNC else 0
    header = _header(data, runs[0].start)
    return MpegFrames(runs, last.end + length > len(data), 1152 if (header >> 11) & 0b11 == 0b11 else 576)


def _runs(data: bytes) -> Iterator[FrameRun]:
    kind = None
    position = data.find(SYNC)
    while position >= 0:
        header = _header(data, position)
        run = _walk(data, position) if FRAME_BYTES[header] and kind in (None, header & SAME_STREAM) else None
        if run is not None:
            kind = header & SAME_STREAM
            yield run
        position = data.find(SYNC, position + 1 if run is None else run.end)


def _walk(data: bytes, start: int) -> FrameRun | None:
    """Follow the frames from `start` to the first that is not where it should be, or not whole."""
    position, frames, end = start, 0, len(data)
    kind = _header(data, start) & SAME_STREAM
    while position + HEADER_BYTES <= end and data[position] == 0xFF:
        header = data[position + 1] << 8 | data[position + 2]
        length = FRAME_BYTES[header]
        if not length or header & SAME_STREAM != kind or position + length > end:
            break
        position += length
        frames += 1
    return FrameRun(start, position, frames) if frames >= CHAIN else None


def _header(data: bytes, position: int) -> int:
    """Return the second and third byte of a frame's header as a number, 0 at the end of the file."""
    return int.from_bytes(data[position + 1 : position + 3], "big") if position + HEADER_BYTES <= len(data) else 0


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
