"""One audio file of the mini benchmark: from its plan to the bytes."""

from dataclasses import dataclass
from pathlib import Path

import soundfile

from cmi_bench.data.synthetic.composition import Style, compose
from cmi_bench.data.synthetic.degradation import Damage, damage_notes, damage_wave
from cmi_bench.data.synthetic.instruments import Wave, render, stream

_COMPOSING, _SPOILING = 0, 1
"""Last ids of a clip's two random streams: the same piece can be had whole and spoilt."""


@dataclass(frozen=True)
class ClipPlan:
    """Everything a clip is made from."""

    path: str
    """Relative to the data root; the suffix decides the format."""
    style: Style
    damages: tuple[Damage, ...]
    seconds: float
    sr: int
    """Hz."""
    channels: int
    seed: tuple[int, ...]
    """Ids of the clip's random streams."""


def make_clip(plan: ClipPlan) -> Wave:
    """Compose, play and spoil a clip: float32 [samples, channels] in [-1, 1]."""
    notes = compose(plan.style, plan.seconds, stream(*plan.seed, _COMPOSING))
    rng = stream(*plan.seed, _SPOILING)
    wave = render(damage_notes(notes, plan.damages, rng), plan.seconds, plan.sr, plan.channels)
    return damage_wave(wave, plan.sr, plan.damages, rng)


def write_clip(root: Path, plan: ClipPlan) -> None:
    """Make a clip and write it below `root`: WAV as 16 bit, MP3 as libsndfile makes it."""
    path = root / plan.path
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, make_clip(plan), plan.sr)
