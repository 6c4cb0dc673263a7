"""Whether larger margins are right more often: accuracy by margin beside what a fitted scale promises."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from cmi_bench.evaluation.exact import Bounds, clopper_pearson
from cmi_bench.evaluation.pairs import DecidedPairs

MAX_BINS = 10
DRAWS = 1000
"""Simulated sets of labels behind `chance_error`."""


class MarginBin(NamedTuple):
    """Some pairs of similar margin."""

    n: int
    low: float
    high: float
    """Smallest and largest absolute margin."""
    margin: float
    """Mean absolute margin."""
    accuracy: float
    """Mean credit: the share of pairs whose higher score is the preferred clip's, ties for a half."""
    promised: float
    """Mean probability, by the fitted scale, that the higher score is the preferred clip's."""
    bounds: Bounds | None
    """Of the accuracy (Clopper-Pearson); None where a tie earned a half."""


def bin_count(n: int) -> int:
    """Return how many bins n pairs are worth: ten from 400 on, three at 40, and no fewer than one."""
    return min(MAX_BINS, max(1, math.isqrt(n) // 2))


def margin_bins(pairs: DecidedPairs, beta: float, *, confidence: float = 0.95) -> list[MarginBin]:
    """Cut the pairs into bins of (nearly) equal number by absolute margin, smallest first.

    Args:
        pairs: Decided pairs.
        beta: The scale; 0 promises one half everywhere.
        confidence: Of the accuracies' bounds.
    """
    size = np.abs(pairs.lead)
    promised = scipy.special.expit(beta * size)
    credit = pairs.credit
    return [
        MarginBin(
            n=chosen.size,
            low=float(size[chosen[0]]),
            high=float(size[chosen[-1]]),
            margin=float(size[chosen].mean()),
            accuracy=float(credit[chosen].mean()),
            promised=float(promised[chosen].mean()),
            bounds=_bounds(credit[chosen], confidence),
        )
        for chosen in _equal_parts(size)
    ]


def expected_calibration_error(bins: Sequence[MarginBin]) -> float | None:
    """Return the mean distance of accuracy from what was promised, weighted by pairs; None without a pair.

    ECE as of Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning" (AAAI 2015), over bins
    of equal number (Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019).
    """
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.accuracy - one.promised) for one in bins) / total if total else None


def chance_error(pairs: DecidedPairs, beta: float, *, seed: int = 0) -> float | None:
    """Return the calibration error that chance alone gives: the mean ECE of labels drawn from the fitted curve.

    Few pairs in a bin miss their promise by luck; an ECE means something as far as it is above this.

    Args:
        pairs: Decided pairs; their labels are not looked at.
        beta: The scale.
        seed: Of the draws.
    """
    size = np.sort(np.abs(pairs.lead))
    if not size.size:
        return None
    promised = scipy.special.expit(beta * size)
    hits = np.random.default_rng(seed).random((DRAWS, size.size)) < promised
    credit = np.where(size > 0, hits, 0.5)
    starts = [int(part[0]) for part in np.array_split(np.arange(size.size), bin_count(size.size))]
    gaps = np.add.reduceat(credit - promised, starts, axis=1)
    return float(np.abs(gaps).sum(axis=1).mean() / size.size)


def _bounds(credit: NDArray[np.float64], confidence: float) -> Bounds | None:
    return None if (credit == 0.5).any() else clopper_pearson(int(credit.sum()), credit.size, confidence=confidence)


def _equal_parts(values: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Return positions in rising order of value, cut into equal parts; none of them empty."""
    return [part for part in np.array_split(np.argsort(values, kind="stable"), bin_count(values.size)) if part.size]
