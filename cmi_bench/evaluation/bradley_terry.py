"""How a difference of scores turns into a probability: the Bradley-Terry model with one scale.

P(A preferred) = sigmoid(beta * (score A - score B)), as in R. A. Bradley and M. E. Terry, "Rank analysis of
incomplete block designs" (Biometrika 39, 1952), with the model's scores as the log-strengths up to the scale.
"""

from typing import NamedTuple

import numpy as np

# `scipy` loads `optimize` and `special` when they are first used, so importing this module stays quick.
import scipy
from numpy.typing import NDArray

from cmi_bench.evaluation.pairs import DecidedPairs


class BradleyTerry(NamedTuple):
    """The fitted scale, per point of the model's own scale."""

    beta: float | None
    """None where it cannot be fitted."""
    ci_low: float | None = None
    ci_high: float | None = None
    """Wald interval, from the Fisher information; pairs are taken for independent."""
    reason: str = ""
    """Why there is no fit; empty where there is one."""


def fit_bradley_terry(pairs: DecidedPairs, *, confidence: float = 0.95) -> BradleyTerry:
    """Fit beta by maximum likelihood: a logistic regression of "A preferred" on score A - score B.

    It has no intercept, because which clip is called A is chance.

    Args:
        pairs: Decided pairs.
        confidence: Of the interval.
    """
    lead = pairs.lead
    largest = float(np.max(np.abs(lead), initial=0.0))
    if largest == 0.0:
        return BradleyTerry(None, reason="no pair with different scores" if lead.size else "no pair")
    if (lead >= 0).all() or (lead <= 0).all():
        side = "right" if lead.max() > 0 else "wrong"
        return BradleyTerry(None, reason=f"every pair is {side}, so that no finite scale is the most likely")
    scaled = lead / largest
    scale = _root(scaled)
    probability = scipy.special.expit(scale * scaled)
    error = 1.0 / float(np.sqrt(np.sum(scaled**2 * probability * (1.0 - probability))))
    reach = float(scipy.special.ndtri((1.0 + confidence) / 2.0)) * error
    return BradleyTerry(scale / largest, (scale - reach) / largest, (scale + reach) / largest)


def _root(lead: NDArray[np.float64]) -> float:
    """Return where the log-likelihood's derivative, which falls all the way, is zero."""

    def slope(scale: float) -> float:
        return float(np.sum(lead * scipy.special.expit(-scale * lead)))

    reach = 1.0
    while slope(-reach) * slope(reach) > 0:
        reach *= 2.0
    return float(scipy.optimize.brentq(slope, -reach, reach, xtol=1e-12, rtol=1e-14))
