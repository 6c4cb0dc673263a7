"""What a metric comes to without each cluster of rows (the jackknife), or over clusters drawn anew (the bootstrap).

The correlations have forms of their own for leaving out: all clusters at once, in about n log n steps for LCC and
K-Tau, and in blocks for SRCC, with no matrix of rows by rows. Counts and ranks are integers below 2**53, so SRCC and
K-Tau are exact.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ids = NDArray[np.intp]
LeftOut = Callable[[Floats, Floats, Ids], Floats]
"""From labels [n], predictions [n] and clusters [n] from 0 to G-1 to a metric without each cluster [G]."""

MAX_CLUSTERS, GROUPS = 500, 200
"""So many clusters are left out one by one; more are left out in groups, which keeps large files quick."""
MANY_ROWS = 500
"""Of a cluster; the pairs within smaller ones are counted one by one."""
BLOCK_CELLS = 1 << 16
"""Cells of a block's largest matrix (512 KiB): small enough for the cache."""
SMALL_VARIANCE = 1e-6
"""Of values scaled to within 1 of their median: far above what rounding makes."""


def stream(seed: int, *place: str) -> np.random.Generator:
    """Return the random numbers of one place in the tables.

    Each dataset, task and group has a stream of its own, so that another group, metric or dataset changes nobody
    else's interval.

    Args:
        seed: The run's seed.
        place: Names, e.g. dataset, task, group key and group value.
    """
    digest = hashlib.sha256("\x1f".join((str(seed), *place)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest)))


def jackknife_groups(ids: Ids, generator: np.random.Generator) -> Ids:
    """Return the clusters to leave out: all of them, or `GROUPS` groups of them of nearly equal number (Kott 2001).

    Args:
        ids: [n] from 0 to G-1, each of them there.
        generator: Decides which clusters are left out together.
    """
    count = int(ids.max(initial=-1)) + 1
    if count <= MAX_CLUSTERS:
        return ids
    return generator.permutation(np.arange(count) % GROUPS)[ids]


def left_out_pearson(label: Floats, prediction: Floats, ids: Ids) -> Floats:
    """Return LCC without each cluster [G]; the arguments are [n] finite values and clusters from 0 to G-1."""
    x, y = _centred(label), _centred(prediction)
    moments = np.stack([np.bincount(ids, column) for column in (np.ones_like(x), x, y, x * x, y * y, x * y)])
    size, sum_x, sum_y, sum_xx, sum_yy, sum_xy = moments.sum(axis=1, keepdims=True) - moments
    variance_x, variance_y = size * sum_xx - sum_x**2, size * sum_yy - sum_y**2
    found = _ratio(size * sum_xy - sum_x * sum_y, variance_x, variance_y)
    # Without an outlier's cluster little is left of the digits: the remaining rows are looked at by themselves.
    for cluster in np.flatnonzero(np.minimum(variance_x, variance_y) < SMALL_VARIANCE * size**2):
        found[cluster] = _pearson(label[ids != cluster], prediction[ids != cluster])
    return found


def _pearson(label: Floats, prediction: Floats) -> float:
    """Return LCC of rows [m], NaN where a side is constant."""
    if label.size < 2:
        return math.nan
    x, y = (values - values.mean() for values in (_centred(label), _centred(prediction)))
    return float(_ratio((x * y).sum(keepdims=True), (x * x).sum(keepdims=True), (y * y).sum(keepdims=True))[0])


def left_out_spearman(label: Floats, prediction: Floats, ids: Ids) -> Floats:
    """Return SRCC without each cluster [G]; the arguments are [n] values without NaN and clusters from 0 to G-1."""
    levels_x, levels_y = _Levels.of(label), _Levels.of(prediction)
    count, n = int(ids.max()) + 1, ids.size
    found = np.empty(count)
    width = max(1, BLOCK_CELLS // n)
    for start in range(0, count, width):
        columns = np.arange(start, min(start + width, count))
        remains = (ids[:, None] != columns).astype(np.float64)
        weights_x, weights_y = levels_x.weights(remains), levels_y.weights(remains)
        ranks_x, ranks_y = _centred_ranks(weights_x), _centred_ranks(weights_y)
        covariance = _dot(remains * ranks_x[levels_x.level], ranks_y[levels_y.level])
        squares_x, squares_y = _dot(weights_x * ranks_x, ranks_x), _dot(weights_y * ranks_y, ranks_y)
        found[columns] = _ratio(covariance, squares_x, squares_y)
    return found


def left_out_kendall(label: Floats, prediction: Floats, ids: Ids) -> Floats:
    """Return K-Tau (tau-b) without each cluster [G]; the arguments are [n] values and clusters from 0 to G-1."""
    x, y = _levels(label), _levels(prediction)
    return _ratio(_concordance_left(x, y, ids), _untied_pairs_left(x, ids), _untied_pairs_left(y, ids))


def left_out_somers(label: Floats, prediction: Floats, ids: Ids) -> Floats:
    """Return Somers' D of prediction given label without each cluster [G]; arguments as for `left_out_kendall`."""
    x, y = _levels(label), _levels(prediction)
    untied = _untied_pairs_left(x, ids)
    return _ratio(_concordance_left(x, y, ids), untied, untied)


def _levels(values: Floats) -> NDArray[np.intp]:
    return np.unique(values, return_inverse=True)[1].astype(np.intp)


def _concordance_left(x: NDArray[np.intp], y: NDArray[np.intp], ids: Ids) -> Floats:
    """Return the concordant minus the discordant ordered pairs without each cluster [G]."""
    # Leaving a cluster out takes the pairs of its rows, those within it once.
    balance = concordance(x, y)
    return np.asarray(balance.sum() - 2 * np.bincount(ids, balance) + _concordance_within(x, y, ids))


def _untied_pairs_left(values: NDArray[np.intp], ids: Ids) -> Floats:
    """Return the ordered pairs of different values without each cluster [G]."""
    sizes = np.bincount(ids).astype(np.float64)
    return np.asarray((ids.size - sizes) ** 2 - _tied_pairs_left(values, ids, sizes.size))


def concordance(x: NDArray[np.intp], y: NDArray[np.intp]) -> Floats:
    """Return, for each row, the rows it is concordant with minus those it is discordant with [n].

    Args:
        x: [n] integers.
        y: [n] integers.
    """
    found = _dominated(x, y).astype(np.float64)
    found += _dominated(-x, -y)
    found -= _dominated(x, -y)
    found -= _dominated(-x, y)
    return found


def _concordance_within(x: NDArray[np.intp], y: NDArray[np.intp], ids: Ids) -> Floats:
    """Return the concordant minus the discordant ordered pairs within each cluster [G]."""
    sizes = np.bincount(ids)
    within = np.zeros(sizes.size)
    for cluster in np.flatnonzero(sizes > MANY_ROWS):
        rows = ids == cluster
        within[cluster] = concordance(x[rows], y[rows]).sum()
    rows = np.flatnonzero(sizes[ids] <= MANY_ROWS)
    rows = rows[np.argsort(ids[rows], kind="stable")]
    x, y, ids = x[rows], y[rows], ids[rows]
    # Each row with the next of its cluster, then with the one after that, until no cluster has so many.
    for step in range(1, int(sizes[sizes <= MANY_ROWS].max(initial=1))):
        same = np.flatnonzero(ids[step:] == ids[:-step])
        signs = np.sign(x[same + step] - x[same]) * np.sign(y[same + step] - y[same])
        within += 2 * np.bincount(ids[same], signs, minlength=within.size)
    return within


def _dominated(x: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[np.integer[Any]]:
    """Count, for each row, the rows with both smaller x and smaller y [n].

    Rows in the order of x: the number of smaller y before each, bit by bit of y from the highest. Rows whose higher
    bits agree stand together; one with the bit set is above those before it in the group that have it not.
    """
    # Among rows of equal x the larger y comes first, so that none of them counts for another.
    order = np.lexsort((-y, x))
    narrow = np.int32 if y.size < 2**31 else np.int64  # levels and counts are below the number of rows
    value = (y - y.min(initial=0))[order].astype(narrow)
    smaller = np.zeros(value.size, dtype=narrow)
    for bit in reversed(range(int(value.max(initial=0)).bit_length())):
        prefix = value >> (bit + 1)
        together = np.argsort(prefix, kind="stable")
        is_clear = ((value[together] >> bit) & 1) == 0
        before = np.cumsum(is_clear, dtype=narrow) - is_clear
        starts = np.flatnonzero(np.diff(prefix[together], prepend=-1))
        before -= np.repeat(before[starts], np.diff(starts, append=value.size))
        smaller[together] += np.where(is_clear, 0, before)
    found = np.empty_like(smaller)
    found[order] = smaller
    return found


def _tied_pairs_left(values: NDArray[np.intp], ids: Ids, count: int) -> Floats:
    """Return the ordered pairs of equal values, each row with itself as well, without each cluster [G]."""
    total = np.bincount(values)
    cells, both = np.unique(ids * total.size + values, return_counts=True)
    cluster, level = np.divmod(cells, total.size)
    lost = both * (2 * total[level] - both)
    return np.asarray(float(np.square(total).sum()) - np.bincount(cluster, lost, minlength=count))


def bootstrap(
    value: Callable[[Ids], float | None], ids: Ids, *, resamples: int, generator: np.random.Generator
) -> Floats:
    """Compute a metric over bootstrap resamples of clusters.

    Args:
        value: From the positions of rows, each as often as it was drawn, to the metric; None where it is undefined.
        ids: [n] clusters from 0 to G-1; each resample draws G of them.
        resamples: How many resamples.
        generator: Where the draws come from; the same draws for any metric.

    Returns:
        [resamples], NaN where undefined.
    """
    sizes = np.bincount(ids)
    members, starts = np.argsort(ids, kind="stable"), np.cumsum(sizes) - sizes
    found = np.empty(resamples)
    for draw in range(resamples):
        clusters = generator.integers(0, sizes.size, sizes.size)
        drawn = sizes[clusters]
        # The rows of one cluster after the other: how far each stands behind the first of its cluster.
        within = np.arange(drawn.sum()) - np.repeat(np.cumsum(drawn) - drawn, drawn)
        one = value(members[np.repeat(starts[clusters], drawn) + within])
        found[draw] = math.nan if one is None else one
    return found


class _Levels(NamedTuple):
    """The L different values among n rows, in rising order."""

    level: Ids
    """[n] which of them a row has."""
    order: Ids
    """[n] the rows in the order of their values."""
    starts: Ids
    """[L] where each level starts in that order."""

    @classmethod
    def of(cls, values: Floats) -> "_Levels":
        level = np.unique(values, return_inverse=True)[1]
        order = np.argsort(level, kind="stable")
        return cls(level, order, np.flatnonzero(np.diff(level[order], prepend=-1)))

    def weights(self, weights: Floats) -> Floats:
        """Return how often each level occurs [L, B] under weights of the rows [n, B]."""
        summed: Floats = np.add.reduceat(weights[self.order], self.starts, axis=0)
        return summed


def _centred_ranks(level_weights: Floats) -> Floats:
    """Return twice the mean rank of each level [L, B], less its mean over the rows, which is their number + 1."""
    through = np.cumsum(level_weights, axis=0)
    ranks: Floats = 2 * through - level_weights - through[-1]
    return ranks


def _centred(values: Floats) -> Floats:
    """Shift and scale, which no correlation sees, so that sums of squares lose and overflow nothing."""
    # The median, not the mean: one outlier must not take the digits of the rows that remain without it.
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
