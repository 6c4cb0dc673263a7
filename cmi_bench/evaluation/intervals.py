"""Confidence intervals of a metric, and whether two models differ by it; the method follows from the metric.

| metric | interval | difference of two models |
|---|---|---|
| mean of credits (ACC) | Wilson, effective rows, t | sign flips of clusters, exact; Bonett and Price |
| correlation (SRCC, LCC, K-Tau) | cluster jackknife on Fisher's z, t | the same, of the difference |
| any other | bootstrap of clusters, percentiles widened as t | the same, of the paired difference |

How often the intervals hold the true value, and the tests find what is not there, is measured by
`benchmarks/statistics.py`; the table is in docs/metrics.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.clusters import Clusters, Membership, clusters_of
from cmi_bench.evaluation.metrics import Metric
from cmi_bench.evaluation.proportions import (
    MIN_CLUSTERS,
    Bounds,
    clopper_pearson,
    clustered_t_test,
    difference_interval,
    sign_flip_test,
    t_quantile,
    wilson_interval,
)
from cmi_bench.evaluation.resampling import Floats, bootstrap, jackknife_groups, stream
from cmi_bench.evaluation.samples import Samples

MIN_JACKKNIFE_CLUSTERS = 5
MIN_JACKKNIFE_ROWS = 15
"""Fewer clusters, or rows, allow no interval of a correlation."""
MOST_DRAWN, MIN_RESAMPLES = 10**9, 1000
"""Rows that a bootstrap draws in all: over more than 100,000 rows it has fewer resamples than 10,000, but so many."""
MIN_VALID = 0.9
"""Share of the resamples in which a metric must be defined for their percentiles to mean anything."""
DIGITS = 12
"""Decimals kept of a bound: what is beyond differs between machines' summation orders."""

WILSON, JACKKNIFE, BOOTSTRAP = "Wilson t", "jackknife t", "bootstrap"
SIGN_FLIP, CLUSTERED_T = "sign flip", "clustered t"


@dataclass(frozen=True)
class Interval:
    """The confidence interval of one metric over some rows."""

    low: float | None
    """None where there is no interval; `reason` says why."""
    high: float | None
    reason: str = ""
    method: str = ""
    """How it was made: "Wilson t", "jackknife t" or "bootstrap"; empty where there is none."""
    unit: str = ""
    """What was taken for independent: "prompts", "rows", "systems" or "prompts and systems"."""
    n_clusters: int = 0
    """How many of them there are."""
    n_degenerate: int = 0
    """Bootstrap resamples over which the metric is undefined; they were dropped."""
    exact: Bounds | None = None
    """Clopper-Pearson, for an accuracy without half credits; it takes rows for independent."""

    @property
    def is_flat(self) -> bool:
        """Whether both ends are the same, so that they say nothing of the uncertainty."""
        return self.low is not None and self.low == self.high


class PairedTest(NamedTuple):
    """Whether two models differ by a metric."""

    interval: Interval
    """Of the first's metric minus the second's."""
    name: str
    """What `p` is from: "sign flip", "clustered t", "jackknife t" or "bootstrap"."""
    p: float | None
    """Two-sided; None where there is too little to tell by."""


class _NoIntervalError(Exception):
    """Why there is no interval."""


@dataclass(frozen=True)
class Rows:
    """The rows of a place in the tables: what of them is independent, and what is drawn; the same for all models."""

    clusters: Clusters
    settings: MetricSettings
    place: tuple[str, ...]
    """Names the random stream: dataset, task and group."""
    n: int

    def require(self, clusters: int, rows: int = 2) -> None:
        """Refuse rows that are too few to tell by."""
        if self.n < 2:
            raise _NoIntervalError("no row" if self.n == 0 else "one row only")
        if self.clusters.reason:
            raise _NoIntervalError(self.clusters.reason)
        if self.clusters.count < clusters:
            raise _NoIntervalError(
                f"too few {self.clusters.unit} to tell ({self.clusters.count}; {clusters} are needed)"
            )
        if self.n < rows:
            unit = self.clusters.unit if self.clusters.count == self.n else "rows"
            raise _NoIntervalError(f"too few {unit} to tell ({self.n}; {rows} are needed)")

    def interval(self, bounds: Bounds, method: str, *, dropped: int = 0, exact: Bounds | None = None) -> Interval:
        """Return an interval over these rows."""
        low, high = round(bounds.low, DIGITS), round(bounds.high, DIGITS)
        return Interval(low, high, "", method, self.clusters.unit, self.clusters.count, dropped, exact)

    def no_interval(self, reason: object, exact: Bounds | None = None) -> Interval:
        """Return the lack of one."""
        return Interval(None, None, str(reason), "", self.clusters.unit, self.clusters.count, exact=exact)


@dataclass(frozen=True)
class ModelMetric:
    """A metric of one model over some rows; what is left out or drawn is computed once."""

    metric: Metric
    samples: Samples
    """[n] the rows, all of them evaluated."""
    value: float
    rows: Rows
    _left_out: dict[Membership, Floats] = field(default_factory=dict, compare=False)

    @cached_property
    def credit(self) -> Floats:
        """[n] credits, of a metric that is their mean."""
        assert self.metric.credit is not None
        return self.metric.credit(self.samples.label, self.samples.prediction)

    @property
    def exact(self) -> Bounds | None:
        """Clopper and Pearson's interval of a mean of credits; None for other metrics and where credits are halved."""
        if self.metric.credit is None or not self.samples.label.size or (self.credit == 0.5).any():
            return None
        return clopper_pearson(int(self.credit.sum()), self.credit.size, confidence=self.rows.settings.confidence)

    def left_out(self, membership: Membership) -> Floats:
        """Return the metric without each cluster, or without each group of them where they are many."""
        assert self.metric.left_out is not None
        if membership not in self._left_out:
            generator = stream(self.rows.settings.seed, *self.rows.place, str(membership.count))
            ids = jackknife_groups(membership.ids, generator)
            self._left_out[membership] = self.metric.left_out(self.samples.label, self.samples.prediction, ids)
        return self._left_out[membership]

    def require_one_cluster(self) -> None:
        """Refuse rows that are in two clusters at once, as pairs are that name two systems: none can be left out."""
        if any(kind.twice is not None for kind in self.rows.clusters.kinds):
            raise _NoIntervalError(f"{self.metric.name} has none by {self.rows.clusters.unit}")

    @cached_property
    def drawn(self) -> Floats:
        """[resamples] the metric over bootstrap resamples, the same for all models."""
        clusters, settings = self.rows.clusters, self.rows.settings
        self.require_one_cluster()
        if len(clusters.kinds) != 1:
            raise _NoIntervalError(f"{self.metric.name} has none by {clusters.unit}")
        value, samples = self.metric.value, self.samples
        return bootstrap(
            lambda rows: value(samples.label[rows], samples.prediction[rows]).value,
            clusters.kinds[0].counted.ids,
            resamples=min(settings.resamples, max(MIN_RESAMPLES, MOST_DRAWN // self.rows.n)),
            generator=stream(settings.seed, *self.rows.place),
        )

    def interval(self) -> Interval:
        """Return the metric's interval."""
        try:
            if self.metric.credit is not None:
                return self._wilson()
            return self._jackknife() if self.metric.left_out is not None else self._bootstrap()
        except _NoIntervalError as reason:
            return self.rows.no_interval(reason, self.exact)

    def _wilson(self) -> Interval:
        self.rows.require(MIN_CLUSTERS)
        bounds = wilson_interval(self.credit, self.rows.clusters, confidence=self.rows.settings.confidence)
        return self.rows.interval(bounds, WILSON, exact=self.exact)

    def _jackknife(self) -> Interval:
        self.require_one_cluster()
        self.rows.require(MIN_JACKKNIFE_CLUSTERS, MIN_JACKKNIFE_ROWS)
        error = _standard_error(self.rows, lambda membership: _fisher(self.left_out(membership)))
        reach = t_quantile(self.rows.settings.confidence, self.rows.clusters.count - 1) * error
        centre = float(_fisher(self.value))
        return self.rows.interval(Bounds(math.tanh(centre - reach), math.tanh(centre + reach)), JACKKNIFE)

    def _bootstrap(self) -> Interval:
        self.rows.require(MIN_CLUSTERS)
        bounds, dropped = _percentiles(self.drawn, self.rows)
        return self.rows.interval(bounds, BOOTSTRAP, dropped=dropped)


def metric_intervals(
    samples: Samples, metrics: Sequence[Metric], settings: MetricSettings, place: tuple[str, ...]
) -> dict[str, Interval]:
    """Return the interval of each metric that has a value.

    Args:
        samples: The rows that are evaluated, n of them.
        metrics: Of their task.
        settings: Confidence, clustering, number of resamples and seed.
        place: Names the random stream: dataset, task and group.
    """
    rows = clustered_rows(samples, settings, place)
    values = {metric: metric.value(samples.label, samples.prediction).value for metric in metrics}
    return {
        metric.name: ModelMetric(metric, samples, value, rows).interval()
        for metric, value in values.items()
        if value is not None
    }


def clustered_rows(samples: Samples, settings: MetricSettings, place: tuple[str, ...]) -> Rows:
    """Return what intervals and tests over some rows have in common."""
    return Rows(clusters_of(samples.prompt, samples.system, settings.cluster), settings, place, samples.label.size)


def paired_test(first: ModelMetric, second: ModelMetric) -> PairedTest:
    """Return whether two models differ by a metric; both over the same `Rows`."""
    if first.metric.credit is not None:
        return _difference_of_credits(first.rows, first.credit - second.credit)
    method, test = (JACKKNIFE, _difference_of_correlations) if first.metric.left_out else (BOOTSTRAP, _drawn_difference)
    try:
        return test(first, second)
    except _NoIntervalError as reason:
        return PairedTest(first.rows.no_interval(reason), method, None)


def _difference_of_credits(rows: Rows, difference: Floats) -> PairedTest:
    clusters = rows.clusters
    is_one_way = len(clusters.kinds) == 1 and clusters.kinds[0].twice is None
    name = SIGN_FLIP if is_one_way else CLUSTERED_T
    if not difference.any():
        return PairedTest(rows.interval(Bounds(0.0, 0.0), WILSON), name, 1.0)
    try:
        rows.require(MIN_CLUSTERS)
    except _NoIntervalError as reason:
        return PairedTest(rows.no_interval(reason), name, None)
    bounds = difference_interval(difference, clusters, confidence=rows.settings.confidence)
    sums = clusters.kinds[0].counted.sums(difference)
    p = sign_flip_test(sums) if is_one_way else clustered_t_test(difference, clusters)
    return PairedTest(rows.interval(bounds, WILSON), name, p)


def _difference_of_correlations(first: ModelMetric, second: ModelMetric) -> PairedTest:
    rows = first.rows
    first.require_one_cluster()
    rows.require(MIN_JACKKNIFE_CLUSTERS, MIN_JACKKNIFE_ROWS)
    if _is_same(first, second):
        return PairedTest(rows.interval(Bounds(0.0, 0.0), JACKKNIFE), JACKKNIFE, 1.0)
    one, other = float(_fisher(first.value)), float(_fisher(second.value))
    error = _standard_error(
        rows, lambda membership: _fisher(first.left_out(membership)) - _fisher(second.left_out(membership))
    )
    # The jackknife says a little too much of the variance of a difference over few clusters: by about 1 in so many.
    degrees = rows.clusters.count - 1
    error *= math.sqrt(degrees / rows.clusters.count)
    reach = t_quantile(rows.settings.confidence, degrees) * error
    middle = (one + other) / 2
    # Back from Fisher's scale: an end is on the same side of 0 as there.
    low, high = (
        math.tanh(middle + end / 2) - math.tanh(middle - end / 2) for end in (one - other - reach, one - other + reach)
    )
    p = 2 * float(scipy.special.stdtr(degrees, -abs(one - other) / error)) if error > 0 else None
    return PairedTest(rows.interval(Bounds(low, high), JACKKNIFE), JACKKNIFE, p)


def _is_same(first: ModelMetric, second: ModelMetric) -> bool:
    """Whether two models have the same metric, whichever cluster is left out: the same order, or another scale."""
    membership = first.rows.clusters.kinds[0].counted
    pairs = ((first.value, second.value), (first.left_out(membership), second.left_out(membership)))
    return all(np.allclose(one, other, rtol=0, atol=10.0**-DIGITS * 100, equal_nan=True) for one, other in pairs)


def _drawn_difference(first: ModelMetric, second: ModelMetric) -> PairedTest:
    first.rows.require(MIN_CLUSTERS)
    # Rounded, lest two scales of the same scores seem to differ consistently in the last digit.
    differences = np.round(first.drawn - second.drawn, DIGITS)
    bounds, dropped = _percentiles(differences, first.rows)
    p = bootstrap_p(differences, first.rows.clusters.count)
    return PairedTest(first.rows.interval(bounds, BOOTSTRAP, dropped=dropped), BOOTSTRAP, p)


def _standard_error(rows: Rows, left_out: Callable[[Membership], Floats]) -> float:
    """Return the jackknife's standard error, over one kind of clusters or two."""

    def variance(membership: Membership) -> float:
        values = left_out(membership)
        if np.isnan(values).any():
            raise _NoIntervalError(f"undefined without some of the {rows.clusters.unit}")
        if np.isinf(values).any():
            raise _NoIntervalError("a correlation of 1 has no spread to tell by")
        return (values.size - 1) / values.size * float(np.square(values - values.mean()).sum())

    return math.sqrt(rows.clusters.variance(variance))


def _fisher(correlation: Floats | float) -> Floats:
    """Return Fisher's z, which is nearly normal where correlations are not; infinite for 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arctanh(np.where(np.abs(correlation) > 1 - 10.0**-DIGITS, np.sign(correlation), correlation))


def _percentiles(values: Floats, rows: Rows) -> tuple[Bounds, int]:
    """Return the ends of a bootstrap distribution, and how many resamples were dropped."""
    valid = values[~np.isnan(values)]
    dropped = values.size - valid.size
    if valid.size < MIN_VALID * values.size:
        raise _NoIntervalError(f"undefined in {dropped} of {values.size} resamples")
    tail = _widened((1 - rows.settings.confidence) / 2, rows.clusters.count)
    low, high = np.quantile(valid, (tail, 1 - tail))
    return Bounds(float(low), float(high)), dropped


def _widened(tail: float, clusters: int) -> float:
    """Return the tail beyond the percentiles that do for few clusters what t does for the normal (Hesterberg 2015)."""
    quantile = scipy.special.stdtrit(clusters - 1, tail) * math.sqrt(clusters / (clusters - 1))
    return float(scipy.special.ndtr(quantile))


def bootstrap_p(differences: Floats, clusters: int) -> float:
    """Return the two-sided p-value that a difference is 0, from its bootstrap distribution over few clusters.

    The smallest tail counted is 1 / (resamples + 1): a bootstrap never proves that something cannot happen
    (Davison and Hinkley 1997, section 4.2.5). Tails are those of t, as in the intervals.

    Args:
        differences: [resamples], NaN where undefined; at least one is defined.
        clusters: How many were drawn from.
    """
    defined = differences[~np.isnan(differences)]
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    tail = (rarer + 1) / (defined.size + 1)
    if tail >= 0.5:
        return 1.0
    quantile = scipy.special.ndtri(tail) * math.sqrt((clusters - 1) / clusters)
    return 2 * float(scipy.special.stdtr(clusters - 1, quantile))
