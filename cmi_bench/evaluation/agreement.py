"""Agreement of predicted with human preferences: the credit of a row, and ACC.

A side is a number, so that rows make an array: 1 for clip A, -1 for clip B, 0 for both, NaN for none.
"""

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data.labels import Preference
from cmi_bench.evaluation.statistic import Statistic, undefined

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
