"""Cut a waveform into frames and look at their spectra."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SAMPLING_RATE = 24000
"""Hz, of all waveforms the signal baseline looks at."""
MIN_SAMPLES = 2 * SAMPLING_RATE // 5
"""Shorter clips are filled up with silence to this, so that each feature has a few frames to work on."""
TINY = 1e-12


@dataclass(frozen=True)
class Spectrogram:
    """Short-time spectra of one clip."""

    power: Array
    """[frames, bins], squared magnitudes."""
    hertz: Array
    """[bins], centre frequencies."""
    frame_rate: float
    """Frames per second."""

    def band(self, low: float, high: float) -> Array:
        """Return the power [frames, bins] of the bins with low <= frequency < high (Hz)."""
        first, last = np.searchsorted(self.hertz, (low, high))
        return self.power[:, first:last]


def spectrogram(wave: Array, size: int, hop: int) -> Spectrogram:
    """Return the spectra of Hann-windowed frames.

    Args:
        wave: [samples] at `SAMPLING_RATE`, at least `size` samples.
        size: Samples of a frame.
        hop: Samples from frame to frame.
    """
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    # Single precision halves the time of the transform, the longest step of the whole baseline.
    spectra = np.fft.rfft((frames * np.hanning(size)).astype(np.float32))
    power = spectra.real.astype(np.float64) ** 2 + spectra.imag.astype(np.float64) ** 2
    hertz = np.asarray(np.fft.rfftfreq(size, 1 / SAMPLING_RATE), dtype=np.float64)
    return Spectrogram(power, hertz, SAMPLING_RATE / hop)


def prepare(waveform: npt.ArrayLike) -> Array:
    """Return a finite waveform of at least `MIN_SAMPLES` samples; NaN and infinity become silence."""
    wave = np.nan_to_num(np.asarray(waveform, dtype=np.float64).reshape(-1), posinf=0.0, neginf=0.0)
    return np.pad(wave, (0, max(0, MIN_SAMPLES - len(wave))))


def decibels(power: npt.ArrayLike) -> Array:
    """Return 10 log10 of a power, finite for silence."""
    return np.asarray(10 * np.log10(np.maximum(power, TINY)), dtype=np.float64)
