"""Calibration: whether larger margins are right more often, and the rows on which a model is most confidently wrong.

The Bradley-Terry model with one scale turns a difference of scores into a probability: P(A preferred) =
sigmoid(beta * (score A - score B)), as in R. A. Bradley and M. E. Terry, "Rank analysis of incomplete block designs"
(Biometrika 39, 1952), with the model's scores as the log-strengths up to the scale.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from cmi_bench.evaluation.clusters import Clusters, Membership
from cmi_bench.evaluation.proportions import MIN_CLUSTERS, Bounds, t_quantile, wilson_interval
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import DecidedPairs, Samples

# `scipy` loads `optimize` and `special` when they are first used, so importing this module stays quick.


class BradleyTerryFit(NamedTuple):
    """The fitted scale, per point of the model's own scale."""

    beta: float | None
    """None where it cannot be fitted."""
    ci_low: float | None = None
    ci_high: float | None = None
    """Wald interval with a sandwich variance over clusters (Liang and Zeger 1986) and a t quantile; None where the
    clusters are too few to tell."""
    reason: str = ""
    """Why there is no fit; empty where there is one."""


def fit_bradley_terry(pairs: DecidedPairs, *, confidence: float = 0.95) -> BradleyTerryFit:
    """Fit beta by maximum likelihood: a logistic regression of "A preferred" on score A - score B.

    It has no intercept, because which clip is called A is chance.

    Args:
        pairs: Decided pairs.
        confidence: Of the interval.
    """
    lead = pairs.lead
    largest = float(np.max(np.abs(lead), initial=0.0))
    if largest == 0.0:
        return BradleyTerryFit(None, reason="no pair with different scores" if lead.size else "no pair")
    if (lead >= 0).all() or (lead <= 0).all():
        side = "right" if lead.max() > 0 else "wrong"
        return BradleyTerryFit(None, reason=f"every pair is {side}, so that no finite scale is the most likely")
    scaled = lead / largest
    scale = _root(scaled)
    probability = scipy.special.expit(scale * scaled)
    clusters = pairs.clusters
    if clusters.count < MIN_CLUSTERS:
        return BradleyTerryFit(scale / largest)
    pull = scaled * scipy.special.expit(-scale * scaled)
    information = float(np.sum(scaled**2 * probability * (1.0 - probability)))

    def variance(membership: Membership) -> float:
        sums, count = membership.sums(pull), membership.count
        # Each cluster pulled the scale towards itself; without it, it would be off by more.
        inside = membership.sums(scaled**2 * probability * (1.0 - probability))
        return count / max(count - 1, 1) * float(np.square(sums / (1 - inside / information)).sum()) / information**2

    reach = t_quantile(confidence, clusters.count - 1) * math.sqrt(clusters.variance(variance))
    return BradleyTerryFit(scale / largest, (scale - reach) / largest, (scale + reach) / largest)


def _root(lead: NDArray[np.float64]) -> float:
    """Return where the log-likelihood's derivative, which falls all the way, is zero."""

    def slope(scale: float) -> float:
        return float(np.sum(lead * scipy.special.expit(-scale * lead)))

    reach = 1.0
    while slope(-reach) * slope(reach) > 0:
        reach *= 2.0
    return float(scipy.optimize.brentq(slope, -reach, reach, xtol=1e-12, rtol=1e-14))


class Calibration(NamedTuple):
    """What scores promise of the clip that people preferred, and whether they keep it."""

    n: int
    """Decided pairs."""
    nll: float
    """Mean negative log-likelihood of what people preferred; log 2 = .693 for scores that know nothing."""
    error: float
    """Expected calibration error."""
    chance_error: float
    """What it would be by chance if every promise were kept."""
    slope: BradleyTerryFit
    """What log-odds would have to be multiplied by: below 1 they promise too much, above 1 too little.

    D. R. Cox, "Two further applications of a model for binary regression" (Biometrika 45, 1958).
    """


def calibration(
    pairs: DecidedPairs, *, beta: float = 1.0, confidence: float = 0.95, seed: int = 0
) -> Calibration | None:
    """Measure the promise P(A preferred) = sigmoid(beta * (score A - score B)), with nothing fitted to the pairs.

    With beta = 1 that is what a model trained by the Bradley-Terry loss, or Davidson's, promises of pairs without ties.
    For another loss put its log-odds (`training.losses.PairLoss.log_odds`) in the scores' place.

    Args:
        pairs: Decided pairs.
        beta: The scale that is promised; above 0.
        confidence: Of the slope's interval.
        seed: Of the draws behind the error by chance.

    Returns:
        The figures; None without a pair.
    """
    error, by_chance = expected_calibration_error(margin_bins(pairs, beta)), chance_error(pairs, beta, seed=seed)
    if error is None or by_chance is None:
        return None
    promised = pairs._replace(preferred=beta * pairs.preferred, other=beta * pairs.other)
    nll = float(np.logaddexp(0.0, -promised.lead).mean())
    return Calibration(pairs.rows.size, nll, error, by_chance, fit_bradley_terry(promised, confidence=confidence))


MAX_BINS = 10
DRAWS = 1000
"""Simulated sets of labels behind `chance_error`."""
MOST_SIMULATED = 20_000
"""Pairs; the labels of more are not drawn."""
BLOCK_CELLS = 1 << 20
"""Labels drawn at a time."""


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
    """Of the accuracy; None where the bin's clusters are too few to tell."""


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
            bounds=accuracy_bounds(credit[chosen], pairs.clusters.take(chosen), confidence),
        )
        for chosen in equal_parts(size)
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

    Few pairs in a bin miss their promise by luck; an ECE means something as far as it is above this. Bins of thousands
    of pairs miss it by a normal deviate, whose mean size is known without drawing any.

    Args:
        pairs: Decided pairs; their labels are not looked at.
        beta: The scale.
        seed: Of the draws.
    """
    size = np.sort(np.abs(pairs.lead))
    if not size.size:
        return None
    promised = scipy.special.expit(beta * size)
    starts = [int(part[0]) for part in np.array_split(np.arange(size.size), bin_count(size.size))]
    if size.size > MOST_SIMULATED:
        variance = np.add.reduceat(np.where(size > 0, promised * (1.0 - promised), 0.0), starts)
        return float(np.sqrt(2.0 / math.pi * variance).sum() / size.size)
    chance = np.random.default_rng(seed)
    gaps = []
    for start in range(0, DRAWS, step := max(1, BLOCK_CELLS // size.size)):
        hits = chance.random((min(step, DRAWS - start), size.size)) < promised
        credit = np.where(size > 0, hits, 0.5)
        gaps.append(np.abs(np.add.reduceat(credit - promised, starts, axis=1)).sum(axis=1))
    return float(np.concatenate(gaps).mean() / size.size)


def accuracy_bounds(credit: NDArray[np.float64], clusters: Clusters, confidence: float) -> Bounds | None:
    """Return the interval of a mean of credits [n]; None where the clusters are too few to tell."""
    return None if clusters.count < MIN_CLUSTERS else wilson_interval(credit, clusters, confidence=confidence)


def equal_parts(values: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Return positions in rising order of value, cut into `bin_count` (nearly) equal parts; none of them empty."""
    return [part for part in np.array_split(np.argsort(values, kind="stable"), bin_count(values.size)) if part.size]


class Mistake(NamedTuple):
    """A row that the model gets wrong."""

    row: int
    """Row number, from 1."""
    gap: float
    """For a pair: the score of the clip that people preferred minus the other's, below 0. For a clip: its
    standing among the task's clips (0 lowest, 1 highest) by the model minus that by people."""


def worst_pairs(pairs: DecidedPairs, count: int) -> list[Mistake]:
    """Return up to `count` pairs on which the model prefers the other clip, the largest margin first."""
    lead = pairs.lead
    order = np.argsort(lead, kind="stable")[:count]
    return [Mistake(int(pairs.rows[at]), float(lead[at])) for at in order if lead[at] < 0]


def worst_clips(samples: Samples, count: int) -> list[Mistake]:
    """Return up to `count` clips whose standing by the model is farthest from that by people."""
    gap = standing_gaps(samples)
    order = np.argsort(-np.abs(gap), kind="stable")[:count]  # NaN comes last
    return [Mistake(int(samples.rows[at]), float(gap[at])) for at in order if abs(gap[at]) > 0]


def standing_gaps(samples: Samples) -> Floats:
    """Return how much higher each clip stands among the task's clips by the model than by people.

    Standings are mean ranks from 0 to 1, because a model's scale is its own.

    Returns:
        [N] in [-1, 1]; NaN where a clip is not evaluated or has no prediction, and where it is the only one.
    """
    chosen = samples.is_evaluated & ~samples.is_failed
    gap = np.full(samples.rows.size, np.nan)
    if (n := int(chosen.sum())) > 1:
        by_model, by_people = (
            (scipy.stats.rankdata(values[chosen]) - 1.0) / (n - 1.0) for values in (samples.prediction, samples.label)
        )
        gap[chosen] = by_model - by_people
    return gap
