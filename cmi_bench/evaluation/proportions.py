"""Accuracies of clustered rows: their intervals, the interval of a difference, and the test that there is none.

An accuracy is a mean of credits in {0, 0.5, 1}. Rows of a cluster (a prompt, a system) are alike, so they are worth
fewer rows than they are: the effective number of rows is theirs divided by the design effect (Kish 1965).
"""

import math
from typing import NamedTuple

import numpy as np
import scipy

from cmi_bench.evaluation.clusters import Clusters, Membership
from cmi_bench.evaluation.resampling import Floats

# `scipy` loads its parts when they are first used, so importing this module stays quick.

MIN_CLUSTERS = 10
"""Fewer allow no interval: in simulation the true accuracy was in it too often or too rarely (docs/metrics.md)."""
MIN_DIFFERING = 6
"""Clusters in which two models differ; fewer allow no p-value, as none could be small enough."""


class Bounds(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def t_quantile(confidence: float, degrees: float) -> float:
    """Return the two-sided quantile of Student's t; of the normal distribution for infinite degrees of freedom."""
    return float(scipy.special.stdtrit(degrees, (1 + confidence) / 2)) if math.isfinite(degrees) else normal(confidence)


def normal(confidence: float) -> float:
    """Return the two-sided quantile of the normal distribution, 1.96 for 0.95."""
    return float(scipy.special.ndtri((1 + confidence) / 2))


def wilson_interval(credit: Floats, clusters: Clusters, *, confidence: float) -> Bounds:
    """Return Wilson's interval (1927) of a mean of credits [n], with effective rows and a t quantile.

    Args:
        credit: In {0, 0.5, 1}; at least one.
        clusters: Of these rows.
        confidence: E.g. 0.95.
    """
    n = credit.size
    mean = float(credit.mean())
    binomial = mean * (1 - mean)
    # Halves vary less than zeros and ones; one more row, which they may be, keeps this above nothing.
    squares = float(np.square(credit - mean).sum())
    spread = (squares + binomial) / (n + 1) if n else 0.0
    informative = min(_touched(clusters, 1 - credit), _touched(clusters, credit))
    effect = design_effect(credit - mean, clusters, independent=squares / n**2, informative=informative)
    rows = n / effect * (binomial / spread if spread > 0 else 1.0)
    quantile = t_quantile(confidence, _degrees(clusters))
    scale = 1 + quantile**2 / rows
    centre = (mean + quantile**2 / (2 * rows)) / scale
    reach = quantile / scale * math.sqrt(binomial / rows + quantile**2 / (4 * rows**2))
    # At 0 and 1 the formula gives them exactly; rounding must not leave them out.
    low = 0.0 if mean == 0 else centre - reach
    high = 1.0 if mean == 1 else centre + reach
    return Bounds(max(0.0, low), min(1.0, high))


def difference_interval(difference: Floats, clusters: Clusters, *, confidence: float) -> Bounds:
    """Return the interval of a mean of paired differences of credits [n].

    That of Bonett and Price (2012) with half a row added on either side, with effective rows and a t quantile.

    Args:
        difference: The first model's credit minus the second's; not all zero.
        clusters: Of these rows.
        confidence: E.g. 0.95.
    """
    n = difference.size
    mean, square = float(difference.mean()), float(np.square(difference).mean())
    informative = _touched(clusters, difference)
    independent = (square - mean**2) / n
    rows = n / design_effect(difference - mean, clusters, independent=independent, informative=informative)
    centre = rows * mean / (rows + 1)
    variance = ((rows * square + 1) / (rows + 1) - centre**2) / (rows + 1)
    reach = t_quantile(confidence, _degrees(clusters)) * math.sqrt(max(variance, 0.0))
    return Bounds(max(-1.0, centre - reach), min(1.0, centre + reach))


def design_effect(residual: Floats, clusters: Clusters, *, independent: float, informative: int) -> float:
    """Return how many times as large the variance of a mean is, as rows of a cluster are alike.

    Few clusters that tell anything estimate it badly: it is drawn towards the largest possible by the weight of one
    cluster against the square of the number that do.

    Args:
        residual: [n] values minus their mean.
        clusters: Of these rows.
        independent: Variance of the mean if rows were independent.
        informative: Clusters with a value that is not the common one.
    """
    largest = float(np.square(clusters.sizes).sum()) / residual.size

    def variance(membership: Membership) -> float:
        # A pair depends on the other pairs of two clusters, so that two are lost to the mean, not one.
        count, lost = membership.count, 1 + (membership.rows.size > residual.size)
        if count <= lost:
            return 0.0
        return count / (count - lost) * float(np.square(membership.sums(residual)).sum()) / residual.size**2

    found = clusters.variance(variance) / independent if independent > 0 else 1.0
    return (informative**2 * found + largest) / (informative**2 + 1)


def _touched(clusters: Clusters, values: Floats) -> int:
    """Count the clusters with a value that is not 0; values of one sign cannot cancel."""
    return int((clusters.kinds[0].counted.sums(np.abs(values)) > 0).sum())


def _degrees(clusters: Clusters) -> float:
    """Degrees of freedom: clusters - 1, and more the fewer rows a cluster has, as only the likeness is estimated."""
    sizes = clusters.sizes
    largest = float(np.square(sizes).sum() / sizes.sum())
    return (sizes.size - 1) * largest / (largest - 1) if largest > 1 else math.inf


def clustered_t_test(difference: Floats, clusters: Clusters) -> float:
    """Return the two-sided p-value that a mean of differences [n] is 0, for rows that depend on each other in two ways.

    Student's t of the mean over the clustered standard error of values around 0, with clusters - 1 degrees of freedom.
    """

    def variance(membership: Membership) -> float:
        return float(np.square(membership.sums(difference)).sum())

    # Never below that of independent rows, which is above 0.
    error = math.sqrt(max(clusters.variance(variance), float(np.square(difference).sum())))
    statistic = abs(float(difference.sum())) / error
    return 2 * float(scipy.special.stdtr(clusters.count - 1, -statistic))


def clopper_pearson(successes: int, n: int, *, confidence: float) -> Bounds:
    """Return the exact interval of a proportion (Clopper and Pearson 1934), for independent trials.

    Args:
        successes: Of `n` trials.
        n: At least 1.
        confidence: E.g. 0.95.
    """
    tail = (1 - confidence) / 2
    low = scipy.special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = scipy.special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return Bounds(float(low), float(high))


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided p-value that a row is as likely better as worse, given that it differs.

    With rows right under one model and wrong under the other this is McNemar's exact test. It takes rows for
    independent.

    Args:
        better: Rows on which the first has more credit.
        worse: Rows on which it has less.
    """
    differing = better + worse
    return min(1.0, 2 * float(scipy.special.bdtr(min(better, worse), differing, 0.5))) if differing else 1.0


def sign_flip_test(sums: Floats) -> float | None:
    """Return the two-sided mid-p-value that two models are equally good, from their differences by cluster.

    If they are, the sign of each cluster's difference is as likely plus as minus. The distribution of the sum over
    all 2^G choices of signs is computed exactly, as a product of cosines. Half of the choices that give the very sum
    observed are counted (mid-p, Lancaster 1961), without which a test on few values finds too little.

    Args:
        sums: [G] the first's credit minus the second's, in halves.

    Returns:
        Not below 2^-G; None where fewer than `MIN_DIFFERING` clusters differ, 1 where none does.
    """
    steps = np.abs(np.rint(2 * sums)).astype(np.int64)
    differing = steps[steps > 0]
    if not differing.size:
        return 1.0
    if differing.size < MIN_DIFFERING:
        return None
    observed, reach = abs(int(np.rint(2 * sums.sum()))), int(differing.sum())
    sizes, counts = np.unique(differing, return_counts=True)
    length = scipy.fft.next_fast_len(2 * reach + 1, real=True)
    angle = 2 * np.pi * np.arange(length // 2 + 1) / length
    characteristic = np.ones_like(angle)
    for size, count in zip(sizes, counts, strict=True):
        characteristic *= np.cos(size * angle) ** count
    chance = np.clip(scipy.fft.irfft(characteristic, length)[: reach + 1], 0.0, None)
    p = 2 * float(chance[observed:].sum()) - float(chance[observed]) if observed else 1.0
    # The transform rounds at 1e-16; what cannot be reached is not claimed.
    return min(1.0, max(p, 2.0 ** -min(differing.size, 1000), 1e-12))
