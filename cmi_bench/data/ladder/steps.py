"""What is done to a clean piece, kind by kind, from hardly audible to plain."""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from cmi_bench.data.datasets import Judgement
from cmi_bench.data.mini.damage import CUTOFF_RANGE, MAX_DRIVE, SNR_RANGE, Damage, Fault, damage_wave
from cmi_bench.data.mini.timbres import Wave

Rng = np.random.Generator
Spoil = Callable[[Wave, int, Rng], Wave]
"""From a waveform [samples, channels], its sampling rate in Hz and a generator to the spoilt waveform."""


class Kind(StrEnum):
    """A way of spoiling."""

    CLEAN = "clean"
    SILENCE = "silence"
    NOISE = "noise"
    SNR = "added noise"
    CLIPPING = "clipping"
    LOWPASS = "lowpass"
    CUT = "time cut"
    PROMPT = "swapped prompt"


LOWERS: dict[Kind, Judgement] = {
    **dict.fromkeys((Kind.SILENCE, Kind.NOISE, Kind.SNR, Kind.CLIPPING, Kind.LOWPASS), Judgement.MUSICALITY),
    Kind.PROMPT: Judgement.ALIGNMENT,
}
"""Which score a listener would lower. Of a piece cut short, nobody can say."""


class Step(NamedTuple):
    """One rung of the ladder."""

    kind: Kind
    label: str
    """How much, e.g. "20 dB"."""
    severity: int
    """0 for clean, then rising within a kind."""
    spoil: Spoil | None = None
    """None leaves the sound as it is."""

    @property
    def swaps_prompt(self) -> bool:
        """Whether the clip is judged by another piece's prompt."""
        return self.kind is Kind.PROMPT


CLEAN = Step(Kind.CLEAN, "as it is", 0)
SNRS_DB = (40, 30, 20, 10, 0)
DRIVES_DB = (6, 12, 18)
CUTOFFS_HZ = (4000, 2000, 1000, 500, 250)
SHARES_KEPT = (0.75, 0.5, 0.25, 0.1)


def ladder_steps() -> list[Step]:
    """Return the clean step, then all others, kind by kind."""
    return [
        CLEAN,
        Step(Kind.SILENCE, "all", 1, lambda wave, _sr, _rng: np.zeros_like(wave)),
        Step(Kind.NOISE, "all", 1, _white_noise),
        *_damaging(Kind.SNR, Fault.NOISE, [(f"{db} dB SNR", _snr_strength(db)) for db in SNRS_DB]),
        *_damaging(Kind.CLIPPING, Fault.CLIPPING, [(f"{db} dB over", _drive_strength(db)) for db in DRIVES_DB]),
        *_damaging(Kind.LOWPASS, Fault.MUFFLED, [(f"{hz} Hz", _cutoff_strength(hz)) for hz in CUTOFFS_HZ]),
        *(
            Step(Kind.CUT, f"first {share:.0%}", severity, _cut(share))
            for severity, share in enumerate(SHARES_KEPT, start=1)
        ),
        Step(Kind.PROMPT, "other's", 1),
    ]


def _damaging(kind: Kind, fault: Fault, strengths: Sequence[tuple[str, float]]) -> list[Step]:
    def spoil(strength: float) -> Spoil:
        return lambda wave, sr, rng: damage_wave(wave, sr, [Damage(fault, strength)], rng)

    return [Step(kind, label, severity, spoil(value)) for severity, (label, value) in enumerate(strengths, start=1)]


def _snr_strength(decibels: float) -> float:
    """Return the damage that leaves this signal-to-noise ratio."""
    clean, dirty = SNR_RANGE
    return (decibels - clean) / (dirty - clean)


def _drive_strength(decibels: float) -> float:
    """Return the damage of driving a clip this far over full scale."""
    return math.log(10 ** (decibels / 20)) / math.log(MAX_DRIVE)


def _cutoff_strength(hertz: float) -> float:
    """Return the damage of a lowpass filter with this cutoff."""
    open_hz, closed_hz = CUTOFF_RANGE
    return math.log(hertz / open_hz) / math.log(closed_hz / open_hz)


def _white_noise(wave: Wave, _sr: int, rng: Rng) -> Wave:
    """Return noise of the same loudness, and nothing else."""
    level = np.sqrt(np.mean(wave**2))
    return np.asarray(np.clip(level * rng.standard_normal(wave.shape), -1, 1), dtype=np.float32)


def _cut(share: float) -> Spoil:
    return lambda wave, _sr, _rng: wave[: max(1, round(share * len(wave)))]
