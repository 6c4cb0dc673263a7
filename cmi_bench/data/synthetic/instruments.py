"""Play notes into a waveform: wavetable instruments, drums, and random streams that depend on stable numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Note(NamedTuple):
    """One tone or stroke."""

    part: str
    """"chords", "bass", "melody" or "drums"."""
    sound: str
    """Timbre, or drum."""
    start: float
    """Seconds."""
    seconds: float
    pitch: float
    """MIDI pitch; without meaning for drums."""
    velocity: float


Wave = npt.NDArray[np.float32]

TABLE_SIZE = 8192
MAX_PARTIALS = 40
VIBRATO_HZ = 5.3
A4_PITCH = 69
A4_HZ = 440.0


@dataclass(frozen=True)
class Spectrum:
    """Amplitudes of a tone's harmonics: 1 / k^rolloff, shaped by formants."""

    rolloff: float
    even: float = 1.0
    """Gain of the even harmonics; 0 makes a clarinet or a square wave of it."""
    formants: tuple[tuple[float, float], ...] = ()
    """(centre, width) in Hz of resonances; empty for none."""

    def amplitudes(self, hz: float, sr: int) -> npt.NDArray[np.float64]:
        """Return the amplitudes of the harmonics 1, 2, ... that lie below 0.45 sr."""
        number = np.arange(1, max(1, min(MAX_PARTIALS, int(0.45 * sr / hz))) + 1)
        amplitude = number**-self.rolloff * np.where(number % 2 == 0, self.even, 1.0)
        if self.formants:
            gains = [np.exp(-0.5 * ((number * hz - centre) / width) ** 2) for centre, width in self.formants]
            amplitude = amplitude * (0.03 + np.sum(gains, axis=0))
        return np.asarray(amplitude)


@dataclass(frozen=True)
class Timbre:
    """An instrument. Times in seconds."""

    onset: Spectrum
    body: Spectrum
    """The spectrum moves from `onset` to `body` with the time constant `fade`."""
    fade: float
    attack: float
    decay: float
    """Time constant of the loudness; `SUSTAINED` for bowed, blown and sung tones."""
    release: float
    vibrato: float = 0.0
    """Depth in semitones."""


SUSTAINED = 1e3
VOICE = "voice"

TIMBRES = {
    "piano": Timbre(Spectrum(1.1), Spectrum(2.2), 0.15, 0.004, 0.7, 0.12),
    "guitar": Timbre(Spectrum(0.6), Spectrum(1.6), 0.12, 0.002, 0.45, 0.08),
    "strings": Timbre(Spectrum(1.6), Spectrum(1.2), 0.2, 0.07, SUSTAINED, 0.15, 0.12),
    "flute": Timbre(Spectrum(1.8, even=0.7), Spectrum(2.6, even=0.6), 0.05, 0.04, SUSTAINED, 0.06, 0.1),
    "vibraphone": Timbre(Spectrum(1.9, even=0.5), Spectrum(4.0), 0.06, 0.003, 0.9, 0.2),
    "organ": Timbre(Spectrum(1.4, even=1.3), Spectrum(1.5, even=1.3), 0.1, 0.01, SUSTAINED, 0.04),
    "synth": Timbre(Spectrum(0.7), Spectrum(1.0), 0.2, 0.005, SUSTAINED, 0.04),
    "trumpet": Timbre(Spectrum(1.3), Spectrum(0.8), 0.05, 0.03, SUSTAINED, 0.05, 0.08),
    "bass": Timbre(Spectrum(1.4), Spectrum(2.4), 0.1, 0.005, 0.6, 0.05),
    VOICE: Timbre(
        Spectrum(0.9, formants=((330.0, 90.0), (900.0, 130.0), (2300.0, 250.0))),
        Spectrum(0.9, formants=((750.0, 130.0), (1250.0, 150.0), (2600.0, 300.0))),
        fade=0.12,
        attack=0.04,
        decay=SUSTAINED,
        release=0.08,
        vibrato=0.2,
    ),
}

BRIGHT_LEADS = ("guitar", "synth", "trumpet")
DARK_LEADS = ("piano", "flute", "vibraphone")


def hertz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch, which may lie between two keys."""
    return float(A4_HZ * 2.0 ** ((pitch - A4_PITCH) / 12))


@lru_cache(maxsize=2048)
def _cycle(spectrum: Spectrum, key: int, sr: int) -> Wave:
    """Return one period [TABLE_SIZE] of the tone on a key, RMS 1."""
    amplitudes = spectrum.amplitudes(hertz(key), sr)
    bins = np.zeros(TABLE_SIZE // 2 + 1, dtype=np.complex128)
    number = np.arange(1, len(amplitudes) + 1)
    # Schroeder's phases keep the crest factor low, so that a chord does not peak where all its tones start.
    bins[1 : len(amplitudes) + 1] = amplitudes * np.exp(-1j * np.pi * number**2 / len(amplitudes))
    wave = np.fft.irfft(bins)
    return np.asarray(wave / np.sqrt(np.mean(wave**2)), dtype=np.float32)


def tone(name: str, pitch: float, seconds: float, sr: int) -> Wave:
    """Play one note.

    Args:
        name: One of `TIMBRES`.
        pitch: MIDI pitch, 69 is A at 440 Hz; fractions are out of tune.
        seconds: How long the key is held; the release comes on top.
        sr: Sampling rate, Hz.

    Returns:
        float32 [samples], RMS about 1 while it sounds.
    """
    timbre = TIMBRES[name]
    time = np.arange(int((seconds + timbre.release) * sr)) / sr
    phase = hertz(pitch) * time
    if timbre.vibrato:
        deviation = hertz(pitch) * (2 ** (timbre.vibrato / 12) - 1) / (2 * np.pi * VIBRATO_HZ)
        phase += deviation * np.sin(2 * np.pi * VIBRATO_HZ * time)
    index = (phase * TABLE_SIZE).astype(np.int32) & (TABLE_SIZE - 1)
    onset, body = (_cycle(spectrum, round(pitch), sr)[index] for spectrum in (timbre.onset, timbre.body))
    # The phase needs double precision, the envelopes do not, and take half the time without it.
    moment = time.astype(np.float32)
    wave = body + (onset - body) * np.exp(moment * np.float32(-1 / timbre.fade))
    wave *= np.minimum(moment * np.float32(1 / timbre.attack), 1.0)
    wave *= np.minimum((moment[-1] - moment) * np.float32(1 / timbre.release), 1.0)
    if timbre.decay < SUSTAINED:
        wave *= np.exp(moment * np.float32(-1 / timbre.decay))
    return np.asarray(wave, dtype=np.float32)


SEED = 20250701
"""Root of every stream. Changing it makes another benchmark: raise `MINI_VERSION` with it."""


def stream(*ids: int) -> np.random.Generator:
    """Return the generator that belongs to these ids (dataset, prompt, clip, purpose, ...)."""
    # The length is part of the seed, because trailing zeros alone would not make another stream.
    return np.random.default_rng([SEED, len(ids), *ids])


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
