"""When things happen: onsets, their pulse, its tempo."""

from typing import NamedTuple

import numpy as np

from cmi_bench.models.signal.frames import Array, Spectrogram, decibels
from cmi_bench.models.signal.spectral import BAND_EDGES

TEMPO_RANGE = (50.0, 200.0)
"""Beats per minute."""
USUAL_TEMPO, TEMPO_OCTAVES = 105.0, 0.9
"""People tap near the usual tempo: centre and width (octaves) of a log-normal preference."""
FLOOR_DB = 50.0
"""Levels further than this below the clip's loudest are treated as silence."""
ONSET_DB = 1.25
"""Mean rise over the bands that counts as an onset."""
PERCUSSION_BAND = (2000.0, 7500.0)
"""Hz: here strokes of drums fill the spaces between the partials, which notes leave free."""


class RhythmFeatures(NamedTuple):
    """Rhythmic properties of one clip."""

    pulse: float
    """0 to 1: autocorrelation of the onsets at the clearest beat; 1 repeats exactly."""
    tempo: float
    """Beats per minute; may be half or double of what a person taps."""
    onset_rate: float
    """Onsets per second."""
    percussion: float
    """dB: how far the level between the partials rises for moments; large with drums, small with steady noise."""


def onset_strength(spectra: Spectrogram) -> Array:
    """Return the mean rise in dB over the bands from each frame to the next, [frames - 1]."""
    edges = np.searchsorted(spectra.hertz, BAND_EDGES)
    cumulative = np.concatenate([np.zeros((len(spectra.power), 1)), np.cumsum(spectra.power, axis=1)], axis=1)
    return np.asarray(_rises(cumulative[:, edges[1:]] - cumulative[:, edges[:-1]]).mean(axis=1))


def _rises(power: Array) -> Array:
    """Return the rises in dB [frames - 1, bands] over a floor that is set by each band's loudest frame."""
    level = decibels(power)
    level = np.maximum(level, level.max(axis=0, keepdims=True) - FLOOR_DB)
    return np.asarray(np.maximum(np.diff(level, axis=0), 0.0))


def rhythm_features(spectra: Spectrogram) -> RhythmFeatures:
    """Measure one clip's rhythm; a clip without onsets has pulse 0 and the usual tempo."""
    onsets = onset_strength(spectra)
    seconds = len(onsets) / spectra.frame_rate
    pulse, tempo = _find_pulse(onsets, spectra.frame_rate)
    peaks = (onsets[1:-1] > onsets[:-2]) & (onsets[1:-1] >= onsets[2:]) & (onsets[1:-1] > ONSET_DB)
    between = np.percentile(decibels(spectra.band(*PERCUSSION_BAND)), 20, axis=1)
    burst, usual = np.percentile(between, (92, 50))
    return RhythmFeatures(pulse, tempo, float(peaks.sum() / seconds), float(burst - usual))


def _find_pulse(onsets: Array, frame_rate: float) -> tuple[float, float]:
    """Return strength and tempo (BPM) of the clearest beat."""
    slowest, fastest = TEMPO_RANGE
    lags = np.arange(int(60 * frame_rate / fastest), int(60 * frame_rate / slowest) + 1)
    lags = lags[lags < len(onsets) - 1]
    # A little smoothing, so that a beat that falls between two frames still meets itself.
    centred = np.convolve(onsets - onsets.mean(), (0.25, 0.5, 0.25), mode="same")
    energy = float(centred @ centred)
    if not len(lags) or energy < 1e-6 * len(onsets):
        return 0.0, USUAL_TEMPO
    size = 2 * len(centred)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[: len(centred)]
    # Fewer frames overlap at larger lags; without this a short clip would seem fast.
    unbiased = correlation / energy * len(centred) / (len(centred) - np.arange(len(centred)))
    tempi = 60 * frame_rate / lags
    preference = np.exp(-0.5 * (np.log2(tempi / USUAL_TEMPO) / TEMPO_OCTAVES) ** 2)
    best = int(np.argmax(unbiased[lags] * preference))
    return float(np.clip(unbiased[lags].max(), 0.0, 1.0)), float(tempi[best])
