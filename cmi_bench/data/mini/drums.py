"""Unpitched instruments and the patterns they are played in."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cmi_bench.data.mini.seeds import stream
from cmi_bench.data.mini.timbres import Wave


class Hit(NamedTuple):
    """One stroke of a pattern."""

    beat: float
    """Place in the bar of four beats."""
    drum: str
    velocity: float


def _hats(step: float, velocity: float) -> tuple[Hit, ...]:
    return tuple(Hit(float(beat), "hat", velocity) for beat in np.arange(0.0, 4.0, step))


GROOVES = {
    "backbeat": (
        *_hats(0.5, 0.5),
        *(Hit(beat, "kick", 1.0) for beat in (0.0, 2.0, 2.5)),
        *(Hit(beat, "snare", 0.9) for beat in (1.0, 3.0)),
    ),
    "four on the floor": (
        *(Hit(beat, "kick", 1.0) for beat in (0.0, 1.0, 2.0, 3.0)),
        *(Hit(beat, "hat", 0.7) for beat in (0.5, 1.5, 2.5, 3.5)),
        *(Hit(beat, "snare", 0.6) for beat in (1.0, 3.0)),
    ),
    "swing": (
        *(Hit(beat, "hat", 0.7) for beat in (0.0, 1.0, 1.67, 2.0, 3.0, 3.67)),
        *(Hit(beat, "kick", 0.6) for beat in (0.0, 2.0)),
        Hit(3.0, "snare", 0.4),
    ),
    "sparse": (
        *_hats(1.0, 0.5),
        Hit(0.0, "kick", 0.8),
        Hit(2.0, "snare", 0.6),
    ),
}


@lru_cache(maxsize=64)
def drum_sound(drum: str, sr: int) -> Wave:
    """Return one stroke of "kick", "snare" or "hat" as float32 [samples], peak 1."""
    # ord of the first letter: a stable id, which hash() is not.
    rng = stream(0, ord(drum[0]))
    seconds = {"kick": 0.3, "snare": 0.22, "hat": 0.07}[drum]
    time = np.arange(int(seconds * sr)) / sr
    noise = rng.standard_normal(len(time))
    if drum == "kick":
        # The pitch falls from 140 to 45 Hz within some 50 ms: the thump.
        wave = np.sin(2 * np.pi * (45 * time + 95 * 0.05 * (1 - np.exp(-time / 0.05)))) * np.exp(-time / 0.09)
    elif drum == "snare":
        wave = noise * np.exp(-time / 0.07) + 0.7 * np.sin(2 * np.pi * 190 * time) * np.exp(-time / 0.05)
    else:
        # The difference of noise is noise without its lows.
        wave = np.diff(noise, prepend=0.0) * np.exp(-time / 0.02)
    return np.asarray(wave / np.max(np.abs(wave)), dtype=np.float32)
