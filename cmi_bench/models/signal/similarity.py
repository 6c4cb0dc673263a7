"""How much a clip sounds like a reference recording."""

import numpy as np

from cmi_bench.models.signal.frames import TINY, Array
from cmi_bench.models.signal.prompt_words import brightness, drumming, fastness, sustaining, tempo_agreement
from cmi_bench.models.signal.properties import Properties

ENVELOPE_DB = 10.0
"""Spectral envelopes this far apart (RMS) share a third of their similarity."""


def similarity(clip: Properties, reference: Properties) -> float:
    """Return 0 to 1: the mean agreement in key, tempo, speed, drums, timbre and brightness."""
    envelope = clip.spectral.envelope - reference.spectral.envelope
    parts = (
        0.5 + 0.5 * _correlation(clip.tonal.chroma, reference.tonal.chroma),
        tempo_agreement(clip.rhythm.tempo, reference.rhythm.tempo),
        float(np.exp(-np.sqrt(np.mean(envelope**2)) / ENVELOPE_DB)),
        *(1 - abs(measure(clip) - measure(reference)) for measure in (fastness, drumming, brightness, sustaining)),
    )
    return float(np.mean(parts))


def _correlation(chroma: Array, other: Array) -> float:
    if min(np.ptp(chroma), np.ptp(other)) < TINY:
        return 0.0
    return float(np.corrcoef(chroma, other)[0, 1])
