"""Agreement of predicted with human preferences: the credit of a row, and ACC.

A side is a number, so that rows make an array: 1 for clip A, -1 for clip B, 0 for both, NaN for none.

Correlation of predictions with mean opinion scores: SRCC, LCC and K-Tau.

A number computed from samples, or the reason why there is none.

The metrics of a task, by the name they have in the tables.

The metrics over weighted rows: what a metric comes to where each row counts as often as a resample drew it.

Each function prepares matrices once and returns a function from cluster weights [C, B] to [B] values,
equal to the plain metric of the rows written out as often as their weight says. Counts, ranks and their
products are integers below 2**53, so these are exact; only LCC rounds.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from cmi_bench.data.datasets import MosTask, Preference, Task
from cmi_bench.evaluation.bootstrap import Floats, WeightedMetric
from cmi_bench.evaluation.settings import MetricSettings


class Statistic(NamedTuple):
    """The value of a metric over some rows."""

    value: float | None
    """None where the metric is undefined."""
    reason: str = ""
    """Why it is undefined; empty where there is a value."""


def undefined(reason: str) -> Statistic:
    """Return a statistic without a value."""
    return Statistic(None, reason)


SIDE = {Preference.A: 1.0, Preference.BOTH: 0.0, Preference.B: -1.0}


def preferred_side(score_a: float, score_b: float) -> float:
    """Return the side with the higher score; an exact tie is the answer "both"."""
    return float((score_a > score_b) - (score_a < score_b))


def credit(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's credit: equal 1, exactly one of them "both" 0.5, else 0; no prediction 0.

    Args:
        label: [n] sides, without NaN.
        prediction: [n] sides, NaN where the prediction failed.

    Returns:
        [n] in {0, 0.5, 1}.

    >>> import numpy as np
    >>> credit(np.array([1.0, 1.0, 1.0, 0.0, 1.0]), np.array([1.0, -1.0, 0.0, 0.0, np.nan])).tolist()
    [1.0, 0.0, 0.5, 1.0, 0.0]
    """
    # Sides are -1, 0 and 1, so half their distance is what is lost.
    return np.nan_to_num(1.0 - np.abs(label - prediction) / 2.0, nan=0.0)


def accuracy(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return ACC, the mean credit.

    Args:
        label: [n] sides, without NaN.
        prediction: [n] sides, NaN where the prediction failed.

    Returns:
        In [0, 1]; undefined without rows.
    """
    return Statistic(float(credit(label, prediction).mean())) if label.size else undefined("no row")


# `scipy` loads its `stats` when that is first used (1 s), so importing this module stays quick.


def spearman(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return SRCC, Spearman's rank correlation (tied values share their mean rank).

    Args:
        label: [n] mean opinion scores.
        prediction: [n] scores of the same rows; infinite ones rank first or last.

    Returns:
        In [-1, 1]; undefined for fewer than two rows or a constant input.

    >>> import numpy as np
    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 9.0])).value
    1.0
    """
    return _correlate(label, prediction, lambda x, y: scipy.stats.spearmanr(x, y).statistic)


def pearson(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return LCC, Pearson's linear correlation.

    Args:
        label: [n] mean opinion scores.
        prediction: [n] scores of the same rows.

    Returns:
        In [-1, 1]; undefined for fewer than two rows, or a constant or infinite input.
    """
    if not (np.isfinite(label).all() and np.isfinite(prediction).all()):
        return undefined("an infinite score")
    return _correlate(label, prediction, lambda x, y: scipy.stats.pearsonr(x, y).statistic)


def kendall(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return K-Tau, Kendall's tau-b (corrected for ties on both sides).

    Args:
        label: [n] mean opinion scores.
        prediction: [n] scores of the same rows.

    Returns:
        In [-1, 1]; undefined for fewer than two rows or a constant input.
    """
    return _correlate(label, prediction, lambda x, y: scipy.stats.kendalltau(x, y).statistic)


def _correlate(
    label: NDArray[np.float64],
    prediction: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], Any],
) -> Statistic:
    if label.size < 2:
        return undefined("no row" if label.size == 0 else "one row only")
    for name, values in (("label", label), ("prediction", prediction)):
        if (values == values[0]).all():
            return undefined(f"constant {name}")
    # SciPy warns of p-values for tiny n and of nearly constant input; the number itself is checked below.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = float(statistic(label, prediction))
    return undefined("nearly constant or overflowing values") if math.isnan(value) else Statistic(value)


Clusters = NDArray[np.intp]
"""[n] the cluster of each row, from 0 to C-1."""

SMALL_VARIANCE = 1e-6
"""Of values scaled to within 1 of their median: far above what rounding makes."""


def weighted_accuracy(label: Floats, prediction: Floats, cluster: Clusters) -> WeightedMetric:
    """Return ACC as a function of weights; `label` and `prediction` as for `agreement.accuracy`."""
    credits_and_sizes = _sum_rows(np.stack([credit(label, prediction), np.ones(label.size)], axis=1), cluster)

    def metric(weights: Floats) -> Floats:
        gained, size = credits_and_sizes.T @ weights
        return np.asarray(gained / size)

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


SRCC = "SRCC"
LCC = "LCC"
K_TAU = "K-Tau"
ACC = "ACC"


class Metric(NamedTuple):
    """A metric: its value over rows, and over resamples of them."""

    value: Callable[[NDArray[np.float64], NDArray[np.float64]], Statistic]
    """From labels [n] and predictions [n] to a number."""
    weighted: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]], WeightedMetric]
    """From labels [n], predictions [n] and clusters [n] to the same number of weighted clusters."""


CORRELATIONS: Mapping[str, Metric] = {
    SRCC: Metric(spearman, weighted_spearman),
    LCC: Metric(pearson, weighted_pearson),
    K_TAU: Metric(kendall, weighted_kendall),
}
AGREEMENTS: Mapping[str, Metric] = {ACC: Metric(accuracy, weighted_accuracy)}


def summary_metrics(task: Task, settings: MetricSettings) -> Mapping[str, Metric]:
    """Return the metrics of a task's line in the summary, in the columns' order."""
    if not isinstance(task, MosTask):
        return AGREEMENTS
    left_out = {LCC: not settings.include_lcc, K_TAU: not settings.include_k_tau}
    return {name: metric for name, metric in CORRELATIONS.items() if not left_out.get(name, False)}


def group_metrics(task: Task) -> Mapping[str, Metric]:
    """Return the one metric of a task's line in the detail table, as in the public files."""
    return {SRCC: CORRELATIONS[SRCC]} if isinstance(task, MosTask) else AGREEMENTS
