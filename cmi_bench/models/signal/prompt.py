"""Words of a prompt that can be checked against the sound, and how far a clip fulfils each."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cmi_bench.models.signal.features import Properties, key_correlations


class Cue(NamedTuple):
    """A family of words and what they promise."""

    pattern: re.Pattern[str]
    measure: Callable[[Properties], float]
    """0 to 1."""
    direction: int = 1
    """1 for words that promise much of what is measured, -1 for words that promise little."""

    def agreement(self, properties: Properties) -> float:
        """Return how far a clip keeps the promise: 0 (the opposite) to 1."""
        found = self.measure(properties)
        return found if self.direction > 0 else 1 - found


def tempo_agreement(tempo: float, other: float) -> float:
    """Return 1 for equal tempi (BPM), up to 0.7 for half or double, near 0 for others.

    Half and double count because neither people nor autocorrelation agree on which one is the beat.
    """
    octaves = abs(float(np.log2(tempo / other)))
    return max(_near(octaves, 0.08), 0.7 * _near(octaves - 1, 0.08))


def _near(distance: float, width: float) -> float:
    return float(np.exp(-0.5 * (distance / width) ** 2))


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -30, 30))))


def fastness(p: Properties) -> float:
    """Return 0 (slow) to 1 (fast), from the beat and from how much happens."""
    events = np.log2(max(p.rhythm.onset_rate, 0.1) / 4.0)
    beat = np.log2(p.rhythm.tempo / 100.0)
    return 0.65 * _sigmoid(2 * float(events)) + 0.35 * _sigmoid(4 * float(beat))


def brightness(p: Properties) -> float:
    """Return 0 (dark) to 1 (bright), from the energy above 2 kHz."""
    return _sigmoid((p.spectral.highs + 14.0) / 3.0)


def drumming(p: Properties) -> float:
    """Return 0 (no drums) to 1 (drums), from bursts of noise."""
    return _sigmoid((p.rhythm.percussion - 17.0) / 3.0)


def majorness(p: Properties) -> float:
    """Return 0 (minor) to 1 (major), from the key profiles."""
    return _sigmoid(p.tonal.major / 0.08)


def sustaining(p: Properties) -> float:
    """Return 0 (plucked, struck) to 1 (bowed, blown, sung), from the level between the notes."""
    return _sigmoid(2 * float(np.log2(2.5 / max(-p.waveform.sustain, 0.1))))


def _words(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)


_NO_DRUMS = re.compile(r"\b(?:no|without(?: any)?) (?:drums?|percussion|beats?)\b|\bdrumless\b", re.IGNORECASE)
_BPM = re.compile(r"\b(\d{2,3}) ?bpm\b", re.IGNORECASE)
_KEY = re.compile(r"\b([A-G])([#b♯♭]?)[ -](?i:(major|minor))\b")
_PITCH_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}

# "dark" is left out: some mean the timbre by it, others the key.
CUES = (
    Cue(_words("fast", "quick", "rapid", "upbeat", "up-tempo", "energetic", "lively", "driving", "dance"), fastness),
    Cue(_words("slow", "calm", "gentle", "relax(?:ed|ing)", "peaceful", "lullaby", "ballad", "drone"), fastness, -1),
    Cue(_words("bright", "brilliant", "shiny", "sharp", "crisp"), brightness),
    Cue(_words("soft", "mellow", "muted", "warm"), brightness, -1),
    Cue(_words("major", "happy", "cheerful", "joyful"), majorness),
    Cue(_words("minor", "sad", "melanchol(?:y|ic)", "mournful"), majorness, -1),
    Cue(_words("drums?", "drumming", "percussion", "percussive"), drumming),
    Cue(_words("trumpet", "brass", "synth", "synthesi[sz]er", "distorted"), brightness),
    Cue(_words("piano", "flute", "vibraphone", "marimba"), brightness, -1),
    Cue(_words("strings", "violin", "organ", "flute", "trumpet", "pads?", "voice", "choir"), sustaining),
    Cue(_words("guitar", "piano", "vibraphone", "marimba", "harp", "bells?", "pizzicato"), sustaining, -1),
)


class MusicalKey(NamedTuple):
    """A key that a prompt names."""

    tonic: int
    """Pitch class, 0 is C."""
    is_major: bool


class Promises(NamedTuple):
    """What a prompt promises that can be checked."""

    no_drums: bool
    tempi: tuple[float, ...]
    """Beats per minute."""
    keys: tuple[MusicalKey, ...]
    cues: tuple[bool, ...]
    """Of each of `CUES` whether one of its words is there."""


def read_promises(text: str) -> Promises:
    """Find what a prompt promises."""
    no_drums = _NO_DRUMS.search(text) is not None
    text = _NO_DRUMS.sub(" ", text)
    keys = (
        MusicalKey((_PITCH_CLASSES[letter] + _ACCIDENTALS[accidental]) % 12, mode.lower() == "major")
        for letter, accidental, mode in _KEY.findall(text)
    )
    return Promises(
        no_drums=no_drums,
        tempi=tuple(float(bpm) for bpm in _BPM.findall(text) if int(bpm)),
        keys=tuple(keys),
        cues=tuple(cue.pattern.search(text) is not None for cue in CUES),
    )


def prompt_agreements(text: str, properties: Properties) -> list[float]:
    """Return how far a clip fulfils each promise of a prompt, 0 to 1 each; empty if no word is known."""
    promises = read_promises(text)
    agreements = [1 - drumming(properties)] if promises.no_drums else []
    agreements += [tempo_agreement(bpm, properties.rhythm.tempo) for bpm in promises.tempi]
    agreements += [_key_agreement(properties, key) for key in promises.keys]
    return agreements + [
        cue.agreement(properties) for cue, is_there in zip(CUES, promises.cues, strict=True) if is_there
    ]


def _key_agreement(properties: Properties, key: MusicalKey) -> float:
    major, minor = key_correlations(properties.tonal.chroma)
    return float(0.5 + 0.5 * (major if key.is_major else minor)[key.tonic])
