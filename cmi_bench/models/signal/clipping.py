"""What shows in the waveform itself: flat tops, gaps, dynamics."""

from typing import NamedTuple

import numpy as np

from cmi_bench.models.signal.frames import SAMPLING_RATE, TINY, Array, decibels

TOP = 0.9
"""Share of the clip's peak from which a sample counts as at the top."""
GAP_SECONDS = 0.005
"""Length of the blocks that gaps are looked for in."""
GAP_DB = -45.0
"""A block this far below the median block is a gap."""


class WaveformFeatures(NamedTuple):
    """Properties of one clip's waveform."""

    flat_tops: float
    """Share of the samples at the top. Music has well below 1 %, a clip driven into full scale many times that."""
    crest: float
    """dB: peak over RMS."""
    gaps: float
    """Gaps per second between sounding stretches; silence before the first and after the last sound is none."""
    sustain: float
    """dB, at most 0: level of the 20th percentile of the blocks below the median one; near 0 for held tones."""


def waveform_features(wave: Array) -> WaveformFeatures:
    """Measure one clip's waveform; a silent clip gives zeros."""
    size = int(GAP_SECONDS * SAMPLING_RATE)
    blocks = wave[: len(wave) // size * size].reshape(-1, size)
    power = np.mean(blocks**2, axis=1)
    peak = float(np.max(np.abs(wave)))
    if peak < TINY:
        return WaveformFeatures(0.0, 0.0, 0.0, 0.0)
    level = decibels(power)
    median = float(np.median(level))
    return WaveformFeatures(
        flat_tops=float(np.mean(np.abs(wave) > TOP * peak)),
        crest=float(decibels(peak**2 / np.mean(wave**2))),
        gaps=_count_gaps(level < median + GAP_DB) / (len(wave) / SAMPLING_RATE),
        sustain=float(np.percentile(level, 20) - median),
    )


def _count_gaps(is_quiet: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> int:
    """Count the quiet stretches that have sound on both sides."""
    sounding = np.flatnonzero(~is_quiet)
    return int(np.sum(np.diff(sounding) > 1))
