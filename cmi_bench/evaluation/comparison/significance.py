"""How surprising a difference would be if there were none, and how many questions were asked."""

from collections.abc import Sequence

import numpy as np

from cmi_bench.evaluation.resampling import Floats


def bootstrap_p(differences: Floats) -> float:
    """Return the two-sided p-value that a difference is 0, from its bootstrap distribution.

    The smallest value is 2 / (resamples + 1): a bootstrap never proves that something cannot happen
    (Davison and Hinkley 1997, section 4.2.5).

    Args:
        differences: [resamples], NaN where undefined; at least one is defined.
    """
    defined = differences[~np.isnan(differences)]
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (defined.size + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected so that the chance of any false alarm among them is kept (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values, dtype=float)[order]))
    return [float(value) for value in corrected]
