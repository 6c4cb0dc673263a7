"""One clip: a composed piece, played with the faults that its plan says, and written as a file.

A fault has a strength from 0 (nothing) to 1 (hardly bearable).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from cmi_bench.data.synthetic.composition import GENRES, Style, compose, scale_shift
from cmi_bench.data.synthetic.instruments import BRIGHT_LEADS, DARK_LEADS, VOICE, Note, Wave, render, stream

Rng = np.random.Generator


class Fault(StrEnum):
    """A kind of damage: to the composition, to the playing, or to the sound."""

    STUCK = "stuck"
    """From some moment on one beat is repeated."""
    SHUFFLED = "shuffled"
    """Beats are in another order."""
    WRONG_CHORDS = "wrong chords"
    """Chords of the key that do not go with the melody."""
    LEAPS = "leaps"
    """Notes of the melody lie one or two octaves off."""
    OUT_OF_STEP = "out of step"
    """The melody comes late by a part of a beat, always the same."""
    CHANGING_TIMBRE = "changing timbre"
    """Notes of the melody are played by other instruments."""
    DETUNED = "detuned"
    OFF_BEAT = "off-beat"
    WRONG_NOTES = "wrong notes"
    NOISE = "noise"
    CLIPPING = "clipping"
    DROPOUTS = "dropouts"
    MUFFLED = "muffled"


COMPOSITION = frozenset(
    {Fault.STUCK, Fault.SHUFFLED, Fault.WRONG_CHORDS, Fault.LEAPS, Fault.OUT_OF_STEP, Fault.CHANGING_TIMBRE}
)
"""Faults of the composition, as generated music has them: in tune, in key, on the beat and clean, and yet not music. No
model here was made for them, while the seven others are what the merits of `model=signal` measure, one by one."""


class Damage(NamedTuple):
    """One fault and how bad it is."""

    fault: Fault
    strength: float


MAX_DETUNE = 0.7
"""Standard deviation in semitones."""
MAX_LATENESS = 0.16
"""Standard deviation in seconds. Both grow with the square of the strength: small deviations are what people do."""
MAX_WRONG = 0.7
"""Share of notes."""
SNR_RANGE = (42.0, 0.0)
"""Decibels at strength 0 and 1."""
MAX_DRIVE = 12.0
CEILING = 0.75
"""Where an overdriven clip is cut: below full scale, since MP3 adds ripples to flat tops."""
DROPOUTS_PER_SECOND = 4.0
DROPOUT_SECONDS = (0.03, 0.12)
CUTOFF_RANGE = (6000.0, 250.0)
"""Hz at strength 0 and 1."""


MAX_STUCK = 0.9
"""Share of the piece that repeats one beat."""
MAX_LATE = 0.37
"""Beats: neither on the beat nor on any of its simple divisions."""
CHORD_BEATS = 2
"""How long one chord is wrong."""
OCTAVES = (-24, -12, 12, 24)
"""Semitones."""


def damage_notes(notes: Sequence[Note], style: Style, damages: Sequence[Damage], rng: Rng) -> list[Note]:
    """Write and play the notes as badly as the faults among `damages` that concern composition and playing say.

    Args:
        notes: The piece, in order of time.
        style: What it was composed as: its key and tempo.
        damages: What to do, in this order.
        rng: Decides what and where.
    """
    result = list(notes)
    for fault, strength in damages:
        if fault in _COMPOSITION:
            result = _COMPOSITION[fault](result, style, strength, rng)
        elif fault in _PLAYING:
            result = [_PLAYING[fault](note, strength, rng) for note in result]
    return result


def damage_wave(wave: Wave, sr: int, damages: Sequence[Damage], rng: Rng) -> Wave:
    """Damage a waveform by the faults among `damages` that concern sound.

    Args:
        wave: float32 [samples, channels].
        sr: Sampling rate, Hz.
        damages: What to do, in this order.
        rng: Decides the noise and the places.

    Returns:
        A new array like `wave`, within [-1, 1].
    """
    for fault, strength in damages:
        if fault in _SOUND:
            wave = _SOUND[fault](wave, sr, strength, rng)
    # Three quarters leave room for what MP3 adds; scaling keeps what is clipped as flat as it was.
    peak = float(np.max(np.abs(wave), initial=0.0))
    return np.asarray(wave * min(1.0, CEILING / max(peak, 1e-9)), dtype=np.float32)


def _stick(notes: list[Note], style: Style, strength: float, _rng: Rng) -> list[Note]:
    beats = _beats(notes, style)
    stuck = min(round(MAX_STUCK * strength * len(beats)), len(beats) - 1)
    first = len(beats) - stuck
    return _joined([*beats[:first], *[beats[first - 1]] * stuck], style)


def _shuffle(notes: list[Note], style: Style, strength: float, rng: Rng) -> list[Note]:
    beats = _beats(notes, style)
    moved = np.sort(rng.permutation(len(beats))[: round(strength * len(beats))])
    # Turned by one or more places: each of them comes elsewhere.
    turned = np.roll(moved, int(rng.integers(1, len(moved)))) if len(moved) > 1 else moved
    order = np.arange(len(beats))
    order[moved] = turned
    return _joined([beats[index] for index in order], style)


def _reharmonise(notes: list[Note], style: Style, strength: float, rng: Rng) -> list[Note]:
    slot = 60.0 / style.tempo * min(CHORD_BEATS, GENRES[style.genre].chord_beats)
    count = max((int(note.start / slot) for note in notes), default=0) + 1
    steps = np.zeros(count, dtype=int)
    wrong = rng.permutation(count)[: round(strength * count)]
    # A step away from the right chord no tone is shared with it.
    steps[wrong] = rng.choice((-1, 1), size=len(wrong))
    return [
        note._replace(pitch=scale_shift(style, note.pitch, int(steps[int(note.start / slot)])))
        if note.part in ("chords", "bass")
        else note
        for note in notes
    ]


def _leap(notes: list[Note], _style: Style, strength: float, rng: Rng) -> list[Note]:
    return [
        note._replace(pitch=note.pitch + int(rng.choice(OCTAVES)))
        if note.part == "melody" and rng.random() < strength
        else note
        for note in notes
    ]


def _delay(notes: list[Note], style: Style, strength: float, _rng: Rng) -> list[Note]:
    late = MAX_LATE * strength * 60.0 / style.tempo
    return [note._replace(start=note.start + late) if note.part == "melody" else note for note in notes]


def _change_timbre(notes: list[Note], style: Style, strength: float, rng: Rng) -> list[Note]:
    others = [lead for lead in (*BRIGHT_LEADS, *DARK_LEADS, VOICE) if lead != style.lead]
    return [
        note._replace(sound=str(rng.choice(others))) if note.part == "melody" and rng.random() < strength else note
        for note in notes
    ]


def _beats(notes: Sequence[Note], style: Style) -> list[list[Note]]:
    """Return the notes beat by beat, each beat's counted from its start."""
    beat = 60.0 / style.tempo
    place = [int(note.start / beat + 1e-6) for note in notes]
    beats: list[list[Note]] = [[] for _ in range(max(place, default=0) + 1)]
    for number, note in zip(place, notes, strict=True):
        beats[number].append(note._replace(start=note.start - number * beat))
    return beats


def _joined(beats: Sequence[Sequence[Note]], style: Style) -> list[Note]:
    """Return the notes of beats that follow one another."""
    beat = 60.0 / style.tempo
    return [note._replace(start=number * beat + note.start) for number, notes in enumerate(beats) for note in notes]


def _detune(note: Note, strength: float, rng: Rng) -> Note:
    return note._replace(pitch=note.pitch + MAX_DETUNE * strength**2 * rng.standard_normal())


def _shift(note: Note, strength: float, rng: Rng) -> Note:
    return note._replace(start=max(0.0, note.start + MAX_LATENESS * strength**2 * rng.standard_normal()))


def _misplay(note: Note, strength: float, rng: Rng) -> Note:
    wrong = rng.random() < MAX_WRONG * strength
    offset = int(rng.choice((-6, -4, -1, 1, 3, 6)))
    return note._replace(pitch=note.pitch + offset) if wrong else note


def _add_noise(wave: Wave, _sr: int, strength: float, rng: Rng) -> Wave:
    clean, dirty = SNR_RANGE
    snr = clean + (dirty - clean) * strength
    level = np.sqrt(np.mean(wave**2)) * 10 ** (-snr / 20)
    return np.asarray(wave + level * rng.standard_normal(wave.shape), dtype=np.float32)


def _clip(wave: Wave, _sr: int, strength: float, _rng: Rng) -> Wave:
    drive = MAX_DRIVE**strength
    peak = np.max(np.abs(wave))
    return np.asarray(np.clip(wave / peak * drive, -1.0, 1.0) * CEILING, dtype=np.float32)


def _drop_out(wave: Wave, sr: int, strength: float, rng: Rng) -> Wave:
    result = wave.copy()
    count = round(DROPOUTS_PER_SECOND * strength * len(wave) / sr)
    for start in rng.integers(0, len(wave), size=count):
        result[start : start + int(rng.uniform(*DROPOUT_SECONDS) * sr)] = 0.0
    return result


def _muffle(wave: Wave, sr: int, strength: float, _rng: Rng) -> Wave:
    open_hz, closed_hz = CUTOFF_RANGE
    cutoff = open_hz * (closed_hz / open_hz) ** strength
    spectrum = np.fft.rfft(wave, axis=0)
    # The magnitude of a fourth-order Butterworth filter, without its phase.
    ratio = np.fft.rfftfreq(len(wave), 1 / sr) / cutoff
    spectrum /= np.sqrt(1 + ratio**8)[:, None]
    return np.asarray(np.fft.irfft(spectrum, len(wave), axis=0), dtype=np.float32)


_COMPOSITION: dict[Fault, Callable[[list[Note], Style, float, Rng], list[Note]]] = {
    Fault.STUCK: _stick,
    Fault.SHUFFLED: _shuffle,
    Fault.WRONG_CHORDS: _reharmonise,
    Fault.LEAPS: _leap,
    Fault.OUT_OF_STEP: _delay,
    Fault.CHANGING_TIMBRE: _change_timbre,
}
_PLAYING: dict[Fault, Callable[[Note, float, Rng], Note]] = {
    Fault.DETUNED: _detune,
    Fault.OFF_BEAT: _shift,
    Fault.WRONG_NOTES: _misplay,
}
_SOUND: dict[Fault, Callable[[Wave, int, float, Rng], Wave]] = {
    Fault.NOISE: _add_noise,
    Fault.CLIPPING: _clip,
    Fault.DROPOUTS: _drop_out,
    Fault.MUFFLED: _muffle,
}


def draw_damages(harm: float, rng: Rng) -> tuple[Damage, ...]:
    """Choose what does a given harm.

    Args:
        harm: How badly the clip is damaged as a whole, 0 to 1.
        rng: Chooses the faults.

    Returns:
        Two different faults, the first at the full strength, the second at half of it; none for 0.
    """
    if harm == 0:
        return ()
    first, second = rng.permutation(len(Fault))[:2]
    faults = list(Fault)
    return Damage(faults[first], harm), Damage(faults[second], harm / 2)


_COMPOSING, _DAMAGING = 0, 1
"""Last ids of a clip's two random streams: the same piece can be had whole and damaged."""


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
    """Compose, play and damage a clip: float32 [samples, channels] in [-1, 1]."""
    notes = compose(plan.style, plan.seconds, stream(*plan.seed, _COMPOSING))
    rng = stream(*plan.seed, _DAMAGING)
    wave = render(damage_notes(notes, plan.style, plan.damages, rng), plan.seconds, plan.sr, plan.channels)
    return damage_wave(wave, plan.sr, plan.damages, rng)


def write_clip(root: Path, plan: ClipPlan) -> None:
    """Make a clip and write it below `root`: WAV as 16 bit, MP3 as libsndfile makes it."""
    path = root / plan.path
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, make_clip(plan), plan.sr)
