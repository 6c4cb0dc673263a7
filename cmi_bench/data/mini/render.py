"""Play notes into a waveform."""

from collections.abc import Sequence

import numpy as np

from cmi_bench.data.mini.composition import Note
from cmi_bench.data.mini.drums import drum_sound
from cmi_bench.data.mini.timbres import Wave, tone

GAINS = {"melody": 0.3, "chords": 0.11, "bass": 0.28, "drums": 0.75}
PANS = {"melody": 0.1, "chords": -0.5, "bass": 0.0, "drums": 0.35}
"""Place in the stereo image, -1 left to 1 right."""
PEAK = 0.6
"""Peak of an undamaged clip: headroom for damage and for what MP3 adds."""
FADE_IN = 0.005
FADE_OUT = 0.06


def render(notes: Sequence[Note], seconds: float, sr: int, channels: int = 1) -> Wave:
    """Play notes.

    Args:
        notes: What to play.
        seconds: Length of the result; what rings on is faded out.
        sr: Sampling rate, Hz.
        channels: 1 or 2.

    Returns:
        float32 [samples, channels] with peak `PEAK`.
    """
    size = int(seconds * sr)
    mix = np.zeros((channels, size), dtype=np.float32)
    for part, gain in GAINS.items():
        bus = _play([note for note in notes if note.part == part], size, sr)
        pan = PANS[part]
        sides = (1.0,) if channels == 1 else (np.sqrt((1 - pan) / 2), np.sqrt((1 + pan) / 2))
        for channel, side in enumerate(sides):
            mix[channel] += np.float32(gain * side) * bus
    mix *= PEAK / max(float(np.max(np.abs(mix))), 1e-9)
    _fade(mix, sr)
    return np.ascontiguousarray(mix.T)


def _play(notes: Sequence[Note], size: int, sr: int) -> Wave:
    bus = np.zeros(size, dtype=np.float32)
    # Accompaniments repeat themselves: each different note is made once.
    played: dict[tuple[str, float, float], Wave] = {}
    for note in notes:
        start = max(0, round(note.start * sr))
        if start >= size:
            continue
        if note.part == "drums":
            wave = drum_sound(note.sound, sr)
        else:
            key = (note.sound, note.pitch, round(note.seconds, 4))
            if key not in played:
                played[key] = tone(note.sound, note.pitch, note.seconds, sr)
            wave = played[key]
        wave = wave[: size - start]
        bus[start : start + len(wave)] += np.float32(note.velocity) * wave
    return bus


def _fade(mix: Wave, sr: int) -> None:
    opening, ending = int(FADE_IN * sr), int(FADE_OUT * sr)
    mix[:, :opening] *= np.linspace(0, 1, opening, dtype=np.float32)
    mix[:, -ending:] *= np.linspace(1, 0, ending, dtype=np.float32)
