"""Pitched instruments: wavetables whose spectrum changes along the note."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

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
