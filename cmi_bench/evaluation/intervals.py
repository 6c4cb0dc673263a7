"""Confidence intervals of a table's numbers: percentile bootstrap over clusters, and the exact one beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.bootstrap import Bounds, Floats, Key, WeightedMetric, clopper_pearson, resample, stream
from cmi_bench.evaluation.metrics import Metric
from cmi_bench.evaluation.samples import Samples, dense

MIN_VALID = 0.9
"""Share of the resamples in which a metric must be defined for their percentiles to mean anything."""
DIGITS = 12
"""Decimals kept of a bound: what is beyond differs between machines' summation orders."""


@dataclass(frozen=True)
class Interval:
    """The confidence interval of one metric over some rows."""

    low: float | None
    """None where there is no interval; `reason` says why."""
    high: float | None
    reason: str = ""
    n_clusters: int = 0
    """What was drawn from: prompts, or rows."""
    n_degenerate: int = 0
    """Resamples over which the metric is undefined; they were dropped."""
    exact: Bounds | None = None
    """Clopper-Pearson, for an accuracy without half credits; it takes rows for independent."""

    @property
    def is_flat(self) -> bool:
        """Whether every resample gave the same, so that its bounds say nothing of the uncertainty."""
        return self.low is not None and self.low == self.high


def metric_intervals(
    samples: Samples, metrics: Sequence[Metric], settings: MetricSettings, place: tuple[str, ...]
) -> dict[str, Interval]:
    """Return the interval of each metric, all from the same resamples.

    Args:
        samples: The rows that are evaluated, n of them.
        metrics: Those that are defined over these rows.
        settings: Number of resamples, confidence, clustering and seed.
        place: Names the random stream: dataset, task and group.
    """
    cluster = dense(samples.cluster, settings.cluster)
    weighted = {metric.name: metric.weighted_over(samples.label, samples.prediction, cluster) for metric in metrics}
    values = resample_clusters(weighted, cluster, settings, place)
    return {
        metric.name: percentile_interval(
            values.get(metric.name),
            cluster,
            settings.confidence,
            exact=exact_bounds(samples, metric, settings.confidence),
        )
        for metric in metrics
    }


def resample_clusters(
    metrics: Mapping[Key, WeightedMetric], cluster: NDArray[np.intp], settings: MetricSettings, place: tuple[str, ...]
) -> dict[Key, Floats]:
    """Compute metrics over the bootstrap resamples of a place in the tables.

    Args:
        metrics: By any key, over the same clusters.
        cluster: [n] from `samples.dense`.
        settings: Number of resamples and seed.
        place: Names the random stream.

    Returns:
        By key, [resamples]; nothing where there are not two clusters to draw from.
    """
    n_clusters = int(cluster.max(initial=-1)) + 1
    if n_clusters < 2:
        return {}
    generator = stream(settings.seed, *place)
    return resample(metrics, n_clusters, resamples=settings.resamples, generator=generator, width=cluster.size)


def percentile_interval(
    values: Floats | None, cluster: NDArray[np.intp], confidence: float, *, exact: Bounds | None = None
) -> Interval:
    """Return the percentile interval of a bootstrap distribution.

    Args:
        values: [resamples], NaN where the metric is undefined; None where nothing could be drawn.
        cluster: [n] what was drawn from.
        confidence: E.g. 0.95.
        exact: Kept beside it.
    """
    n_clusters = int(cluster.max(initial=-1)) + 1
    if values is None:
        reason = "no row" if cluster.size == 0 else "one row only" if cluster.size == 1 else "one prompt only"
        return Interval(None, None, reason, n_clusters, exact=exact)
    valid = values[~np.isnan(values)]
    n_degenerate = values.size - valid.size
    if valid.size < MIN_VALID * values.size:
        reason = f"undefined in {n_degenerate} of {values.size} resamples"
        return Interval(None, None, reason, n_clusters, n_degenerate, exact)
    tail = (1 - confidence) / 2
    low, high = (round(float(bound), DIGITS) for bound in np.quantile(valid, (tail, 1 - tail)))
    return Interval(low, high, "", n_clusters, n_degenerate, exact)


def exact_bounds(samples: Samples, metric: Metric, confidence: float) -> Bounds | None:
    """Return the Clopper-Pearson interval of a mean of credits; None for other metrics and where credits are halved."""
    if metric.credit is None or samples.label.size == 0:
        return None
    gained = metric.credit(samples.label, samples.prediction)
    if (gained == 0.5).any():
        return None
    return clopper_pearson(int(gained.sum()), gained.size, confidence=confidence)
