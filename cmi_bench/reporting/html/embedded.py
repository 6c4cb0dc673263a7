"""Audio within a page, for where the page cannot reach the files: the start of each clip, compressed.

MLflow shows a page in a frame of its own, where no address leads out of the page.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cmi_bench.audio.readers import AudioError
from cmi_bench.reporting.html.audio import AudioLink, FoundAudio, find_audio

SECONDS = 20.0
"""Of each clip, from its start."""
TELLING = 0.1
"""A clip that goes on for so long after that is longer, and cut."""
SR = 24000
"""Hz of the mono MP3."""
BIT_RATE = 64000
MAX_BYTES = 25 * 10**6
"""Of all clips of a page, as they stand in it."""


@dataclass
class EmbeddedAudio:
    """The clips of one page, each compressed once."""

    _links: dict[tuple[str, ...], AudioLink] = field(default_factory=dict)
    _bytes: int = 0

    def link(self, audio: str, roots: Sequence[Path], *, allow_outside: bool = False) -> AudioLink:
        """Return a clip whose address is the clip itself; without one where it cannot be had, or the page is full.

        Args:
            audio: The row's path, relative to a root, or absolute.
            roots: Data roots.
            allow_outside: See `find_audio`.
        """
        place = (audio, *map(str, roots))  # datasets may have roots of their own
        if place not in self._links:
            self._links[place] = self._embed(audio, find_audio(audio, roots, allow_outside=allow_outside))
        return self._links[place]

    def _embed(self, audio: str, found: FoundAudio) -> AudioLink:
        file, problem = found
        if file is None:
            return AudioLink(audio, None, problem)
        try:
            start = start_of(file)
        except (AudioError, OSError):
            return AudioLink(audio, None, "cannot be decoded")
        url = f"data:audio/mpeg;base64,{base64.b64encode(start.mp3).decode()}"
        if self._bytes + len(url) > MAX_BYTES:
            return AudioLink(audio, None, f"is left out: the page has {MAX_BYTES // 10**6} MB of audio already")
        self._bytes += len(url)
        return AudioLink(f"{audio} (its first {SECONDS:g} s)" if start.is_cut else audio, url)


class ClipStart(NamedTuple):
    """The start of a clip."""

    mp3: bytes
    is_cut: bool
    """Whether the clip is longer."""


def start_of(file: Path) -> ClipStart:
    """Return the start of an audio file as a mono MP3.

    Raises:
        AudioError: It cannot be decoded.
        OSError: It cannot be read.
    """
    import av  # with torch, which decoding needs: pages without audio need neither
    import numpy as np

    from cmi_bench.audio.decode import decode

    waveform = decode(file, SR, SECONDS + TELLING).numpy().astype(np.float32)[None]
    content = io.BytesIO()
    with av.open(content, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=SR, layout="mono")
        stream.bit_rate = BIT_RATE
        kept = np.ascontiguousarray(waveform[:, : int(SR * SECONDS)])
        frame = av.AudioFrame.from_ndarray(kept, format="fltp", layout="mono")
        frame.sample_rate = SR
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)
    return ClipStart(content.getvalue(), is_cut=waveform.shape[1] > SR * SECONDS)
