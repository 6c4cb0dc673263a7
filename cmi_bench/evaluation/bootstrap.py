"""Bootstrap resamples as integer weights: how often each cluster of rows is drawn. And exact figures of counts.

B resamples of C clusters are a matrix [C, B] whose columns sum to C; any metric that is made of sums is
then a matrix product, and no resample is ever written out.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Floats = NDArray[np.float64]

WeightedMetric = Callable[[Floats], Floats]
"""From weights [C, B] to the metric of each resample [B]; NaN where it is undefined."""

Key = TypeVar("Key")

BLOCK_CELLS = 1 << 16
"""Cells of a block's largest matrix (512 KiB): small enough for the cache, large enough for BLAS."""


def stream(seed: int, *place: str) -> np.random.Generator:
    """Return the random numbers of one place in the tables.

    Each dataset, task and group has a stream of its own, so that another group, metric or dataset
    changes nobody else's interval.

    Args:
        seed: The run's seed.
        place: Names, e.g. dataset, task, group key and group value.
    """
    digest = hashlib.sha256("\x1f".join((str(seed), *place)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest)))


def resample(
    metrics: Mapping[Key, WeightedMetric],
    n_clusters: int,
    *,
    resamples: int,
    generator: np.random.Generator,
    width: int,
) -> dict[Key, Floats]:
    """Compute metrics over the same bootstrap resamples.

    Args:
        metrics: What to compute, by any key: metrics of one model, or of several that are to be paired.
        n_clusters: How many clusters there are to draw from; each resample draws as many.
        resamples: How many resamples.
        generator: Where the draws come from.
        width: Rows of the largest matrix that the metrics make; it sets the block size, not the outcome.

    Returns:
        By key, [resamples].
    """
    parts: dict[Key, list[Floats]] = {key: [] for key in metrics}
    # The products are small: on a busy machine threads would wait for each other longer than they compute.
    with _blas().limit(limits=1, user_api="blas"):
        for weights in _blocks(n_clusters, resamples, generator, width):
            for key, metric in metrics.items():
                parts[key].append(metric(weights))
    return {key: np.concatenate(blocks) for key, blocks in parts.items()}


@functools.cache
def _blas() -> ThreadpoolController:
    """Look for NumPy's BLAS once: where many libraries are loaded, that takes longer than many a bootstrap."""
    return ThreadpoolController()


def _blocks(n_clusters: int, resamples: int, generator: np.random.Generator, width: int) -> Iterator[Floats]:
    size = max(1, BLOCK_CELLS // max(width, n_clusters))
    for start in range(0, resamples, size):
        columns = min(size, resamples - start)
        # One resample after another, so that the draws do not depend on the block size.
        drawn = generator.integers(0, n_clusters, size=(columns, n_clusters))
        cells = drawn * columns + np.arange(columns)[:, None]
        counts = np.bincount(cells.ravel(), minlength=n_clusters * columns)
        yield counts.reshape(n_clusters, columns).astype(np.float64)


class Bounds(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def clopper_pearson(successes: int, n: int, *, confidence: float) -> Bounds:
    """Return the exact interval of a proportion (Clopper and Pearson 1934), for independent trials.

    Args:
        successes: Of `n` trials.
        n: At least 1.
        confidence: E.g. 0.95.
    """
    interval = scipy.stats.binomtest(successes, n).proportion_ci(confidence_level=confidence, method="exact")
    return Bounds(float(interval.low), float(interval.high))


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided p-value that a row is as likely better as worse, given that it differs.

    With rows right under one model and wrong under the other this is McNemar's exact test.

    Args:
        better: Rows on which the first has more credit.
        worse: Rows on which it has less.
    """
    differing = better + worse
    return float(scipy.stats.binomtest(better, differing).pvalue) if differing else 1.0
