"""The degradation set of `task=robustness`: clean pieces of the mini benchmark's generator, each perturbed by known
amounts in known ways.

Each clean piece fulfils its prompt. Each kind of perturbation has steps of rising severity, from hardly audible to
plain. The clips are written as files, for models that take paths as well as for ears.
"""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from cmi_bench.data.synthetic.composition import Style, agreement, draw_style
from cmi_bench.data.synthetic.degradation import (
    CUTOFF_RANGE,
    MAX_DRIVE,
    SNR_RANGE,
    ClipPlan,
    Damage,
    Fault,
    damage_wave,
    make_clip,
)
from cmi_bench.data.synthetic.instruments import Wave, stream
from cmi_bench.data.synthetic.labels import write_lyrics, write_prompt
from cmi_bench.types import Aspect, Clip

DEGRADATION_ID = 5
"""First id of the set's random streams; the mini benchmark's datasets have 1 to 4."""
MAX_PIECES = 8
SAMPLING_RATE = 24000
SECONDS = 5.0
VOCAL_EVERY = 4
_WISH, _WORDS, _AUDIO = 0, 1, 2


class Piece(NamedTuple):
    """An undamaged piece of music that is what its prompt asks for."""

    number: int
    """From 1."""
    style: Style
    prompt: str
    lyrics: str
    """Empty for an instrumental piece."""

    def play(self) -> Wave:
        """Return the waveform: float32 [samples, 1] at `SAMPLING_RATE`."""
        plan = ClipPlan("", self.style, (), SECONDS, SAMPLING_RATE, 1, (DEGRADATION_ID, _AUDIO, self.number))
        return make_clip(plan)


def clean_pieces(count: int = MAX_PIECES) -> list[Piece]:
    """Return the first pieces, up to `MAX_PIECES`; the same ones each time."""
    return [_piece(number) for number in range(1, min(count, MAX_PIECES) + 1)]


def least_fitting(piece: Piece, others: list[Piece]) -> Piece:
    """Return the piece whose prompt a piece fulfils least; the first of several."""
    return min(others, key=lambda other: agreement(other.style, piece.style))


def _piece(number: int) -> Piece:
    is_vocal = number % VOCAL_EVERY == 0
    style = draw_style(stream(DEGRADATION_ID, _WISH, number), vocal=is_vocal)
    words = stream(DEGRADATION_ID, _WORDS, number)
    return Piece(number, style, write_prompt(style, words), write_lyrics(words) if is_vocal else "")


Rng = np.random.Generator
Perturb = Callable[[Wave, int, Rng], Wave]
"""From a waveform [samples, channels], its sampling rate in Hz and a generator to the perturbed waveform."""


class Perturbation(StrEnum):
    """A way of perturbing a clip."""

    CLEAN = "clean"
    SILENCE = "silence"
    NOISE = "noise"
    SNR = "added noise"
    CLIPPING = "clipping"
    LOWPASS = "lowpass"
    CUT = "time cut"
    PROMPT = "swapped prompt"


LOWERS: dict[Perturbation, Aspect] = {
    Perturbation.SILENCE: Aspect.MUSICALITY,
    Perturbation.NOISE: Aspect.MUSICALITY,
    Perturbation.SNR: Aspect.MUSICALITY,
    Perturbation.CLIPPING: Aspect.MUSICALITY,
    Perturbation.LOWPASS: Aspect.MUSICALITY,
    Perturbation.PROMPT: Aspect.ALIGNMENT,
}
"""Which score a listener would lower. Of a piece cut short, nobody can say."""


class Step(NamedTuple):
    """One kind of perturbation at one severity."""

    kind: Perturbation
    label: str
    """How much, e.g. "20 dB"."""
    severity: int
    """0 for clean, then rising within a kind."""
    perturb: Perturb | None = None
    """None leaves the sound as it is."""

    @property
    def swaps_prompt(self) -> bool:
        """Whether the clip is judged by another piece's prompt."""
        return self.kind is Perturbation.PROMPT


CLEAN = Step(Perturbation.CLEAN, "as it is", 0)
SNRS_DB = (40, 30, 20, 10, 0)
DRIVES_DB = (6, 12, 18)
CUTOFFS_HZ = (4000, 2000, 1000, 500, 250)
SHARES_KEPT = (0.75, 0.5, 0.25, 0.1)


def degradation_steps() -> list[Step]:
    """Return the clean step, then all others, kind by kind."""
    return [
        CLEAN,
        Step(Perturbation.SILENCE, "all", 1, lambda wave, _sr, _rng: np.zeros_like(wave)),
        Step(Perturbation.NOISE, "all", 1, _white_noise),
        *_damaging(Perturbation.SNR, Fault.NOISE, [(f"{db} dB SNR", _snr_strength(db)) for db in SNRS_DB]),
        *_damaging(Perturbation.CLIPPING, Fault.CLIPPING, [(f"{db} dB over", _drive_strength(db)) for db in DRIVES_DB]),
        *_damaging(Perturbation.LOWPASS, Fault.MUFFLED, [(f"{hz} Hz", _cutoff_strength(hz)) for hz in CUTOFFS_HZ]),
        *(
            Step(Perturbation.CUT, f"first {share:.0%}", severity, _cut(share))
            for severity, share in enumerate(SHARES_KEPT, start=1)
        ),
        Step(Perturbation.PROMPT, "other's", 1),
    ]


def _damaging(kind: Perturbation, fault: Fault, strengths: Sequence[tuple[str, float]]) -> list[Step]:
    def perturb(strength: float) -> Perturb:
        return lambda wave, sr, rng: damage_wave(wave, sr, [Damage(fault, strength)], rng)

    return [Step(kind, label, severity, perturb(value)) for severity, (label, value) in enumerate(strengths, start=1)]


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


def _cut(share: float) -> Perturb:
    return lambda wave, _sr, _rng: wave[: max(1, round(share * len(wave)))]


_PERTURBING = 3
"""Second id of the set's random streams."""


class DegradedClip(NamedTuple):
    """One clip to judge, and what was done to it."""

    step: Step
    piece: int
    """Number of the piece."""
    clip: Clip


def plan_degradations(pieces: Sequence[Piece], steps: Sequence[Step], folder: Path) -> list[DegradedClip]:
    """Return each piece at each step; nothing is written.

    Args:
        pieces: Two or more, so that prompts can be swapped.
        steps: The clean one first.
        folder: Where the audio is or will be.
    """
    places = ((step, piece) for step in steps for piece in pieces)
    return [_clip(number, piece, step, pieces, folder) for number, (step, piece) in enumerate(places, start=1)]


def write_degradations(pieces: Sequence[Piece], steps: Sequence[Step], folder: Path) -> None:
    """Play and perturb the pieces into 16 bit WAV files, the same bytes each time.

    Args:
        pieces: The pieces.
        steps: What is done to each.
        folder: One folder a kind goes below it.
    """
    for piece in pieces:
        wave = piece.play()
        for index, step in enumerate(steps):
            if step.swaps_prompt:
                continue
            path = _path(piece, step, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = stream(DEGRADATION_ID, _PERTURBING, index, piece.number)
            perturbed = step.perturb(wave, SAMPLING_RATE, rng) if step.perturb else wave
            soundfile.write(path, perturbed, SAMPLING_RATE, subtype="PCM_16")


def _clip(number: int, piece: Piece, step: Step, pieces: Sequence[Piece], folder: Path) -> DegradedClip:
    asked, audio = piece, _path(piece, step, folder)
    if step.swaps_prompt:
        asked = least_fitting(piece, [other for other in pieces if other != piece])
        audio = _path(piece, CLEAN, folder)
    return DegradedClip(step, piece.number, Clip(f"{number}:a", audio, asked.prompt, asked.lyrics))


def _path(piece: Piece, step: Step, folder: Path) -> Path:
    step_name = f"{step.kind} {step.severity}" if step.severity else str(step.kind)
    return folder / step_name.replace(" ", "-") / f"piece-{piece.number:02d}.wav"
