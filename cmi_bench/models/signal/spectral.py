"""How the energy lies along the spectrum: noise between the partials, brightness, what is left of the highs."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cmi_bench.models.signal.frames import TINY, Array, Spectrogram, decibels

BAND_EDGES = np.geomspace(60.0, 10000.0, 25)
"""Edges in Hz of the 24 bands of the spectral envelope, about three to the octave."""
AUDIBLE_GAPS = (400.0, 5000.0)
"""Hz between which partials stand apart enough that noise shows between them."""
HIGHS_FROM = 2000.0
"""Hz. Low enough for clips that were stored at 16 kHz."""


class SpectralFeatures(NamedTuple):
    """Spectral properties of one clip."""

    noise_floor: float
    """dB: level between the partials relative to the partials; near 0 for noise."""
    flatness: float
    """0 (tones) to 1 (white noise): geometric over arithmetic mean of the power, median of the frames."""
    highs: float
    """dB: power above `HIGHS_FROM` relative to all."""
    centroid: float
    """Hz: the spectrum's centre of gravity, by magnitude."""
    envelope: Array
    """[24] dB: mean level in the bands, without the overall level."""


def spectral_features(spectra: Spectrogram) -> SpectralFeatures:
    """Measure one clip's spectrum; a silent clip gives finite values."""
    gaps = spectra.band(*AUDIBLE_GAPS)
    level = decibels(gaps)
    # Few bins hold partials and most hold what lies between, so a high and a low percentile tell them apart.
    contrast = np.percentile(level, 25, axis=1) - np.percentile(level, 97, axis=1)
    flatness = np.exp(np.mean(np.log(gaps + TINY), axis=1)) / (np.mean(gaps, axis=1) + TINY)
    mean_power = spectra.power.mean(axis=0)
    total = float(mean_power.sum()) + TINY
    magnitude = np.sqrt(mean_power)
    edges = np.searchsorted(spectra.hertz, BAND_EDGES)
    bands = decibels([mean_power[low : max(high, low + 1)].mean() for low, high in pairwise(edges)])
    return SpectralFeatures(
        # Strokes of a drum fill the gaps for a moment; noise fills them in the quietest frames too.
        noise_floor=float(np.percentile(contrast, 10)),
        flatness=float(np.median(flatness)),
        highs=float(decibels(mean_power[spectra.hertz >= HIGHS_FROM].sum() / total)),
        centroid=float(np.sum(spectra.hertz * magnitude) / (magnitude.sum() + TINY)),
        envelope=bands - bands.mean(),
    )
