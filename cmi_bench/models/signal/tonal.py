"""Which pitches sound: in tune with one another, in a key, major or minor."""

from typing import NamedTuple

import numpy as np

from cmi_bench.models.signal.frames import TINY, Array, Spectrogram, decibels

PITCH_RANGE = (110.0, 2000.0)
"""Hz: below, a semitone is too narrow for the transform; above, overtones of no key prevail."""
PEAK_DB = 40.0
"""Peaks further below the frame's loudest are left out."""
C_BELOW_A4 = 9
"""Semitones from C up to A: chroma bin 0 is C."""

# Krumhansl and Kessler (1982): how well each scale step fits, as listeners judged it.
MAJOR_PROFILE = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR_PROFILE = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


class TonalFeatures(NamedTuple):
    """Tonal properties of one clip."""

    tuning: float
    """0 to 1: how well the partials keep to one grid of semitones, wherever it lies."""
    key_clarity: float
    """-1 to 1: correlation of the pitch classes with the best of the 24 key profiles."""
    major: float
    """-2 to 2: best major correlation less best minor correlation."""
    chroma: Array
    """[12] shares of the pitch classes from C, sum 1."""


class _Partials(NamedTuple):
    semitones: Array
    """[partials] above A at 440 Hz."""
    weight: Array


def _find_partials(spectra: Spectrogram) -> _Partials:
    """Return the spectral peaks of all frames, their frequency interpolated between the bins."""
    low, high = np.searchsorted(spectra.hertz, PITCH_RANGE)
    level = decibels(spectra.power[:, low - 1 : high + 1])
    left, middle, right = level[:, :-2], level[:, 1:-1], level[:, 2:]
    is_peak = (middle > left) & (middle >= right) & (middle > middle.max(axis=1, keepdims=True) - PEAK_DB)
    # Silent frames have no peaks worth the name.
    is_peak &= middle > middle.max() - 2 * PEAK_DB
    _, bins = np.nonzero(is_peak)
    left, middle, right = left[is_peak], middle[is_peak], right[is_peak]
    offset = 0.5 * (left - right) / (left - 2 * middle + right - TINY)
    hertz = (bins + low + offset) * spectra.hertz[1]
    return _Partials(12 * np.log2(hertz / 440.0), 10 ** (middle / 20))


def key_correlations(chroma: Array) -> tuple[Array, Array]:
    """Return the correlations [12] of a chroma with the major and the minor key on each pitch class."""
    if np.ptp(chroma) < TINY:
        return np.zeros(12), np.zeros(12)
    return (
        np.array([np.corrcoef(np.roll(MAJOR_PROFILE, tonic), chroma)[0, 1] for tonic in range(12)]),
        np.array([np.corrcoef(np.roll(MINOR_PROFILE, tonic), chroma)[0, 1] for tonic in range(12)]),
    )


def tonal_features(spectra: Spectrogram) -> TonalFeatures:
    """Measure one clip's pitches; a clip without partials has tuning 0 and a flat chroma."""
    semitones, weight = _find_partials(spectra)
    total = float(weight.sum())
    if total < TINY:
        return TonalFeatures(0.0, 0.0, 0.0, np.full(12, 1 / 12))
    grid = np.sum(weight * np.exp(2j * np.pi * semitones)) / total
    # Measured from the clip's own tuning: a piece at 432 Hz is not out of tune.
    tuning_offset = np.angle(grid) / (2 * np.pi)
    classes = np.rint(semitones - tuning_offset).astype(int) + C_BELOW_A4
    chroma = np.bincount(classes % 12, weights=weight, minlength=12) / total
    major, minor = key_correlations(chroma)
    return TonalFeatures(
        tuning=float(np.abs(grid)),
        key_clarity=float(max(major.max(), minor.max())),
        major=float(major.max() - minor.max()),
        chroma=chroma,
    )
