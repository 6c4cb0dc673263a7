"""The clips that a model is asked about: few and short, so that a large network on a CPU can be checked too."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from cmi_bench.data.ladder.pieces import Piece, clean_pieces
from cmi_bench.data.mini.clips import ClipPlan, make_clip
from cmi_bench.data.mini.timbres import Wave

MAX_DUR = 4.0
"""Seconds of a clip that may be looked at; not the run's `max_dur`, so that the long clip can be short."""
SHARED_SECONDS = MAX_DUR + 0.25
"""Where the two long clips part: past the crop by more than a resampler's filter reaches."""
LONG_SECONDS = 6.0
SHORT_SECONDS = 0.2
SILENT_SECONDS = 2.0
PROBES_ID = 6
"""First id of the random streams; the mini benchmark and the ladder have 1 to 5."""


class Probe(NamedTuple):
    """A clip with its instruction."""

    name: str
    """As in messages; also the clip's id."""
    audio: Path
    text: str = ""
    lyrics: str = ""
    ref_audio: Path | None = None


class Probes(NamedTuple):
    """All clips that are asked about."""

    plain: tuple[Probe, ...]
    """Of different lengths and containers, without reference; the first has text, the last no instruction at all."""
    referring: tuple[Probe, ...]
    """With reference audio."""
    silent: Probe
    short: Probe
    long: Probe
    """Longer than `MAX_DUR`."""
    long_changed: Probe
    """The same up to `SHARED_SECONDS`; then loud noise where the other is silent."""

    @property
    def for_services(self) -> tuple[Probe, ...]:
        """What is asked of a service, each once: not the changed clip, since equal audio may get another answer."""
        return (*self.plain, *self.referring, self.silent, self.short, self.long)


def make_probes(folder: Path, sr: int) -> Probes:
    """Write the clips' audio, the same bytes each time.

    Args:
        folder: Where to.
        sr: The model's sampling rate, Hz, which the long clips have: nothing is resampled across the crop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, second, third, vocal = clean_pieces(4)
    instrumental = _write(folder / "instrumental.wav", _play(first, 3.0, 44100, channels=2), 44100)
    song = _write(folder / "song.flac", _play(vocal, 2.0, 16000), 16000)
    bare = _write(folder / "bare.mp3", _play(second, 2.5, 44100, channels=2), 44100)
    reference = _write(folder / "reference.wav", _play(third, 2.0, 48000), 48000)
    short = _write(folder / "short.wav", _play(first, SHORT_SECONDS, 44100), 44100)
    silence = _write(folder / "silence.wav", np.zeros((int(SILENT_SECONDS * 44100), 1), dtype=np.float32), 44100)
    long, changed = (_write(folder / f"{name}.wav", wave, sr) for name, wave in _long_pair(second, sr).items())
    return Probes(
        plain=(
            Probe("a clip with text", instrumental, first.prompt),
            Probe("a clip with text and lyrics", song, vocal.prompt, vocal.lyrics),
            Probe("a clip without instruction", bare),
        ),
        referring=(
            Probe("a clip with text and reference", bare, second.prompt, "", reference),
            Probe("a clip with text, lyrics and reference", song, vocal.prompt, vocal.lyrics, reference),
        ),
        silent=Probe("the silent clip", silence, first.prompt),
        short=Probe("the short clip", short, first.prompt),
        long=Probe("the long clip", long, second.prompt),
        long_changed=Probe("the long clip", changed, second.prompt),
    )


def _play(piece: Piece, seconds: float, sr: int, channels: int = 1) -> Wave:
    return make_clip(ClipPlan("", piece.style, (), seconds, sr, channels, (PROBES_ID, piece.number)))


def _long_pair(piece: Piece, sr: int) -> dict[str, Wave]:
    start = _play(piece, SHARED_SECONDS, sr)
    size = int(LONG_SECONDS * sr) - len(start)
    noise = np.random.default_rng(PROBES_ID).uniform(-0.9, 0.9, (size, 1)).astype(np.float32)
    return {"long": np.concatenate([start, 0 * noise]), "long-changed": np.concatenate([start, noise])}


def _write(path: Path, wave: Wave, sr: int) -> Path:
    soundfile.write(path, wave, sr)
    return path
