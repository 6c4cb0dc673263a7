"""The metrics over weighted rows: what a metric comes to where each row counts as often as a resample drew it.

Each function prepares matrices once and returns a function from cluster weights [C, B] to [B] values,
equal to the plain metric of the rows written out as often as their weight says. Counts, ranks and their
products are integers below 2**53, so these are exact; only LCC rounds.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.evaluation.bootstrap import Floats, WeightedMetric

Clusters = NDArray[np.intp]
"""[n] the cluster of each row, from 0 to C-1."""

SMALL_VARIANCE = 1e-6
"""Of values scaled to within 1 of their median: far above what rounding makes."""


def weighted_mean(values: Floats, cluster: Clusters) -> WeightedMetric:
    """Return the mean of values [n] as a function of weights."""
    sums_and_sizes = _sum_rows(np.stack([values, np.ones(values.size)], axis=1), cluster)

    def metric(weights: Floats) -> Floats:
        total, size = sums_and_sizes.T @ weights
        return np.asarray(total / size)

    return metric


def weighted_by_repetition(
    value: Callable[[Floats, Floats], float | None], label: Floats, prediction: Floats, cluster: Clusters
) -> WeightedMetric:
    """Return any metric as a function of weights: its value over each resample written out, one after another."""

    def metric(weights: Floats) -> Floats:
        counts = weights[cluster].astype(np.intp)
        found = (value(np.repeat(label, count), np.repeat(prediction, count)) for count in counts.T)
        return np.array([math.nan if one is None else one for one in found])

    return metric


def weighted_spearman(label: Floats, prediction: Floats, cluster: Clusters) -> WeightedMetric:
    """Return SRCC as a function of weights; the arguments are [n] values without NaN."""
    levels_x, levels_y = Levels.of(label, cluster), Levels.of(prediction, cluster)

    def metric(weights: Floats) -> Floats:
        weights_x, weights_y = levels_x.weights(weights), levels_y.weights(weights)
        ranks_x, ranks_y = _centred_ranks(weights_x), _centred_ranks(weights_y)
        covariance = _dot(weights[cluster] * ranks_x[levels_x.level], ranks_y[levels_y.level])
        return _ratio(covariance, _dot(weights_x * ranks_x, ranks_x), _dot(weights_y * ranks_y, ranks_y))

    return metric


def weighted_pearson(label: Floats, prediction: Floats, cluster: Clusters) -> WeightedMetric:
    """Return LCC as a function of weights; the arguments are [n] finite values."""
    x, y = _centred(label), _centred(prediction)
    moments = _sum_rows(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1), cluster)
    levels_x, levels_y = Levels.of(label, cluster), Levels.of(prediction, cluster)

    def metric(weights: Floats) -> Floats:
        size, sum_x, sum_y, sum_xx, sum_yy, sum_xy = moments.T @ weights
        variance_x, variance_y = size * sum_xx - sum_x**2, size * sum_yy - sum_y**2
        for variance, levels in ((variance_x, levels_x), (variance_y, levels_y)):
            # Rounding leaves a constant resample a tiny variance: where it is small, count the values.
            small = np.flatnonzero(variance < SMALL_VARIANCE * size**2)
            n_levels = (levels.weights(weights[:, small]) > 0).sum(axis=0)
            variance[small[n_levels == 1]] = 0.0
        return _ratio(size * sum_xy - sum_x * sum_y, variance_x, variance_y)

    return metric


def weighted_kendall(label: Floats, prediction: Floats, cluster: Clusters) -> WeightedMetric:
    """Return K-Tau (tau-b) as a function of weights; the arguments are [n] values without NaN."""
    # Twice the concordant minus the discordant pairs is a quadratic form of the weights.
    signs = _sum_rows(_sum_rows(_signs(label) * _signs(prediction), cluster).T, cluster)
    levels_x, levels_y = Levels.of(label, cluster), Levels.of(prediction, cluster)

    def metric(weights: Floats) -> Floats:
        weights_x, weights_y = levels_x.weights(weights), levels_y.weights(weights)
        pairs = weights_x.sum(axis=0) ** 2
        untied_x, untied_y = pairs - _dot(weights_x, weights_x), pairs - _dot(weights_y, weights_y)
        return _ratio(_dot(signs @ weights, weights), untied_x, untied_y)

    return metric


class Levels(NamedTuple):
    """The L different values among n rows, in rising order."""

    level: NDArray[np.intp]
    """[n] which of them a row has."""
    cluster: Clusters
    """[n] the rows' clusters, the rows in the order of their values."""
    starts: NDArray[np.intp]
    """[L] where each level starts in that order."""

    @classmethod
    def of(cls, values: Floats, cluster: Clusters) -> "Levels":
        """Find the levels of values [n]."""
        level = np.unique(values, return_inverse=True)[1]
        order = np.argsort(level, kind="stable")
        return cls(level, cluster[order], np.flatnonzero(np.diff(level[order], prepend=-1)))

    def weights(self, weights: Floats) -> Floats:
        """Return how often each level occurs [L, B] under cluster weights [C, B]."""
        summed: Floats = np.add.reduceat(weights[self.cluster], self.starts, axis=0)
        return summed


def _centred_ranks(level_weights: Floats) -> Floats:
    """Return twice the mean rank of each level [L, B], less its mean over the rows, which is their number + 1."""
    through = np.cumsum(level_weights, axis=0)
    ranks: Floats = 2 * through - level_weights - through[-1]
    return ranks


def _sum_rows(values: Floats, cluster: Clusters) -> Floats:
    """Add up the rows [n, k] of each cluster to [C, k]."""
    summed = np.zeros((int(cluster.max()) + 1, values.shape[1]))
    np.add.at(summed, cluster, values)
    return summed


def _signs(values: Floats) -> Floats:
    """[n, n]: the sign of value j minus value i; comparisons, as infinities have no difference."""
    return (values[:, None] > values).astype(np.float64) - (values[:, None] < values)


def _centred(values: Floats) -> Floats:
    """Shift and scale, which no correlation sees, so that sums of squares lose and overflow nothing."""
    # The median, not the mean: one outlier must not take the digits of the resamples that lack it.
    shifted = values / 2 - np.median(values / 2)
    return np.asarray(shifted / max(float(np.abs(shifted).max()), np.finfo(np.float64).tiny))


def _dot(x: Floats, y: Floats) -> Floats:
    """Return the scalar product of each column [n, B] with its counterpart."""
    product: Floats = np.einsum("nb,nb->b", x, y)
    return product


def _ratio(numerator: Floats, square_x: Floats, square_y: Floats) -> Floats:
    """Return numerator / sqrt(square_x * square_y) within [-1, 1], NaN where one of them is not positive."""
    defined = (square_x > 0) & (square_y > 0)
    # Each root by itself: the product of the squares may not fit.
    denominator = np.sqrt(square_x, where=defined, out=np.ones_like(square_x))
    denominator *= np.sqrt(square_y, where=defined, out=np.ones_like(square_y))
    return np.where(defined, np.clip(numerator / denominator, -1.0, 1.0), np.nan)
