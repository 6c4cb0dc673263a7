"""Correlation of predictions with mean opinion scores: SRCC, LCC and K-Tau."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

# `scipy` loads its `stats` when that is first used (1 s), so importing this module stays quick.
import scipy
from numpy.typing import NDArray

from cmi_bench.evaluation.statistic import Statistic, undefined


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
