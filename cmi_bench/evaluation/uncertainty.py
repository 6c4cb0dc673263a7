"""Whether an ensemble knows when it is wrong: does the spread over its members foretell its errors?

The members' own scores are looked at, not a spread for each clip: what the members have in common says nothing about
which clip is better, and what one member adds to every score (its offset) cancels in a margin. So the spread of a pair
is that of its margin. Members count alike: each member's scores are divided by their standard deviation over the
task's clips, as a reward model's scale is its own.

On pairs, errors are wrong answers, and the statistic is AUROC: the probability that a wrong answer has a larger spread
than a right one (Hanley and McNeil 1982; 0.5 where the spread carries nothing). On single clips an error is the
distance of a clip's standing by the model from that by people, and the statistic is Spearman's correlation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import MosTask, PairTask
from cmi_bench.evaluation.calibration import accuracy_bounds, equal_parts, standing_gaps
from cmi_bench.evaluation.clusters import clusters_of
from cmi_bench.evaluation.intervals import Interval, ModelMetric, clustered_rows, paired_test
from cmi_bench.evaluation.metrics import Metric, Statistic, spearman, undefined
from cmi_bench.evaluation.proportions import Bounds
from cmi_bench.evaluation.resampling import Floats, concordance, left_out_somers, left_out_spearman
from cmi_bench.evaluation.samples import Samples, decided_pairs


class Sign(StrEnum):
    """What may foretell an error."""

    SPREAD = "spread"
    """A large standard deviation over the members: of a clip's score, or of a pair's margin."""
    MARGIN = "margin"
    """A small margin of a pair, which any model has: what a spread has to be better than."""
    BOTH = "margin / spread"
    """A small margin measured in spreads."""


class Foretold(NamedTuple):
    """How well a sign foretells errors."""

    value: float | None
    """AUROC or SRCC, or a difference of two AUROCs; None where it is undefined."""
    interval: Interval | None
    """None where intervals are switched off, or there is no value."""
    reason: str = ""
    """Why it is undefined."""


@dataclass(frozen=True, kw_only=True)
class UncertaintyRecord:
    """What the spread of an ensemble is worth on a task."""

    dataset: str
    task: str
    n: int
    """Rows with scores of all members, a label, and for pairs an answer that is right or wrong."""
    n_members: int
    n_wrong: int | None
    """Pairs answered wrongly; None for single clips."""
    statistic: str
    """"AUROC" or "SRCC"."""
    signs: Mapping[Sign, Foretold]
    """By sign; of single clips the spread alone."""
    gain: Foretold | None
    """AUROC of margin over spread minus that of the margin: what the members add. None for single clips."""


@dataclass(frozen=True)
class SignedRows:
    """The rows of a task with what may foretell their errors; n of them."""

    samples: Samples
    """[n] the rows."""
    n_members: int
    error: Floats
    """[n] of pairs 1 where the answer is wrong and 0 where it is right; of clips the distance of standings, 0 to 1."""
    doubt: Mapping[Sign, Floats]
    """[n] by sign; the larger, the likelier an error."""

    @property
    def spread(self) -> Floats:
        """[n] standard deviation over the members, in units of their scores' standard deviation."""
        return self.doubt[Sign.SPREAD]

    @property
    def is_pair(self) -> bool:
        """Whether the task is one on pairs."""
        return isinstance(self.samples.task, PairTask)

    @property
    def outcome(self) -> Floats:
        """[n] what people read: of pairs 1 where the answer is right and 0 where it is wrong, of clips the error."""
        return 1.0 - self.error if self.is_pair else self.error


def signed_rows(samples: Samples) -> SignedRows | None:
    """Return the rows of a task whose errors may be foretold; None if the model is no ensemble, or no row is left."""
    if samples.members is None:
        return None
    # An offset or a scale that a member has of its own moves no answer.
    is_whole = np.asarray(np.isfinite(samples.members).all(axis=(0, 2)))
    whole = samples.members[:, is_whole]
    scale = whole.std(axis=(0, 1)) if whole.size else np.ones(whole.shape[2])
    scale = np.where(scale > 0, scale, 1.0)
    make = _signed_pairs if isinstance(samples.task, PairTask) else _signed_clips
    found = make(samples, samples.members, scale, is_whole)
    return found if found.error.size else None


def _signed_pairs(samples: Samples, members: Floats, scale: Floats, is_whole: NDArray[np.bool_]) -> SignedRows:
    pairs = decided_pairs(samples)
    at = np.searchsorted(samples.rows, pairs.rows)
    chosen = is_whole[at] & (pairs.lead != 0)
    at, lead = at[chosen], pairs.lead[chosen]
    spread = (members[0, at] / scale - members[1, at] / scale).std(axis=1, ddof=1)
    size = np.abs(lead)
    with np.errstate(divide="ignore"):
        doubt = {Sign.SPREAD: spread, Sign.MARGIN: -size, Sign.BOTH: -size / spread}
    return SignedRows(samples.take(at), scale.size, (lead < 0).astype(np.float64), doubt)


def _signed_clips(samples: Samples, members: Floats, scale: Floats, is_whole: NDArray[np.bool_]) -> SignedRows:
    gap = np.abs(standing_gaps(samples))
    at = np.flatnonzero(is_whole & np.isfinite(gap))
    of_clips = members[0, at] / scale
    apart = of_clips - of_clips.mean(axis=0) if at.size else of_clips
    return SignedRows(samples.take(at), scale.size, gap[at], {Sign.SPREAD: apart.std(axis=1, ddof=1)})


def somers_d(error: Floats, doubt: Floats) -> Statistic:
    """Return Somers' D of a sign given errors, which for errors of 0 and 1 is 2 AUROC - 1; equal signs count a half.

    Args:
        error: [n].
        doubt: [n].
    """
    if not error.size:
        return undefined("no row")
    if np.ptp(error) == 0:
        return undefined("every answer is wrong" if error[0] else "no answer is wrong")
    if (doubt == doubt[0]).all():
        return undefined("it is the same for all pairs")
    x, y = (np.unique(values, return_inverse=True)[1] for values in (error, doubt))
    untied = float(error.size**2 - np.square(np.bincount(x)).sum())
    return Statistic(float(concordance(x, y).sum()) / untied)


# Not registered: they measure no predictions against labels, but the rows' errors against a sign.
_AUROC = Metric("AUROC", PairTask, somers_d, left_out_somers)
_SRCC = Metric("SRCC", MosTask, spearman, left_out_spearman)


def uncertainty_record(samples: Samples, settings: MetricSettings) -> UncertaintyRecord | None:
    """Measure whether the spread foretells errors on a task.

    Intervals are those of correlations: the jackknife over prompts (`metrics.cluster`) on Fisher's scale, with t; AUROC
    is measured as 2 AUROC - 1, which is a correlation of ranks.

    Args:
        samples: The rows of a task.
        settings: How intervals are made.

    Returns:
        None where the model is no ensemble, or no row is left.
    """
    found = signed_rows(samples)
    if found is None:
        return None
    metric, shown = (_AUROC, _auroc) if found.is_pair else (_SRCC, float)
    rows = clustered_rows(found.samples, settings, (samples.dataset.name, samples.task.name, "uncertainty"))
    statistics = {sign: metric.value(found.error, doubt) for sign, doubt in found.doubt.items()}
    measured = {
        sign: ModelMetric(metric, replace(found.samples, label=found.error, prediction=found.doubt[sign]), value, rows)
        for sign, (value, _) in statistics.items()
        if value is not None
    }
    intervals = {sign: one.interval() for sign, one in measured.items()} if settings.resamples else {}
    return UncertaintyRecord(
        dataset=samples.dataset.name,
        task=samples.task.name,
        n=found.error.size,
        n_members=found.n_members,
        n_wrong=int(found.error.sum()) if found.is_pair else None,
        statistic=metric.name,
        signs={sign: _foretold(statistic, intervals.get(sign), shown) for sign, statistic in statistics.items()},
        gain=_gain(statistics, measured, with_interval=settings.resamples > 0) if found.is_pair else None,
    )


def _gain(
    statistics: Mapping[Sign, Statistic], measured: Mapping[Sign, ModelMetric], *, with_interval: bool
) -> Foretold:
    both, margin = (statistics[sign] for sign in (Sign.BOTH, Sign.MARGIN))
    if both.value is None or margin.value is None:
        return Foretold(None, None, both.reason or margin.reason)
    test = paired_test(measured[Sign.BOTH], measured[Sign.MARGIN]) if with_interval else None
    return _foretold(Statistic(both.value - margin.value), test.interval if test else None, lambda found: found / 2)


def _foretold(statistic: Statistic, interval: Interval | None, shown: Callable[[float], float]) -> Foretold:
    """Return a statistic with its interval on the scale on which it is shown."""
    if statistic.value is None:
        return Foretold(None, None, statistic.reason)
    if interval is not None and interval.low is not None and interval.high is not None:
        interval = replace(interval, low=shown(interval.low), high=shown(interval.high))
    return Foretold(shown(statistic.value), interval)


def _auroc(somers: float) -> float:
    return (1 + somers) / 2


class SpreadBin(NamedTuple):
    """Some rows of similar spread."""

    n: int
    spread: float
    """Mean spread."""
    outcome: float
    """Mean outcome: of pairs the accuracy, of clips the mean distance of standings."""
    bounds: Bounds | None
    """Of the accuracy; None of clips, and where the bin's clusters are too few to tell."""


def spread_bins(rows: SignedRows, settings: MetricSettings) -> list[SpreadBin]:
    """Cut rows into bins of (nearly) equal number by spread, smallest first."""
    clusters = clusters_of(rows.samples.prompt, rows.samples.system, settings.cluster)
    outcome = rows.outcome

    def make(chosen: NDArray[np.intp]) -> SpreadBin:
        of_bin = outcome[chosen]
        bounds = accuracy_bounds(of_bin, clusters.take(chosen), settings.confidence) if rows.is_pair else None
        return SpreadBin(chosen.size, float(rows.spread[chosen].mean()), float(of_bin.mean()), bounds)

    return [make(chosen) for chosen in equal_parts(rows.spread)]


def kept_outcome(rows: SignedRows, sign: Sign) -> Floats:
    """Return the mean outcome of the rows that are kept where the most doubtful ones are left out.

    The curve over coverage of selective prediction (El-Yaniv and Wiener 2010); rows of equal doubt count as their mean.

    Returns:
        [n] of the 1, 2, ... n least doubtful rows.
    """
    levels, sizes = np.unique(rows.doubt[sign], return_inverse=True, return_counts=True)[1:]
    means = np.bincount(levels, rows.outcome) / sizes
    return np.asarray(np.cumsum(np.repeat(means, sizes)) / np.arange(1, rows.error.size + 1))
