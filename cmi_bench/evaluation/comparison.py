"""Which differences between runs are real: paired tests on the same rows, corrected for their number.

Runs that do not differ significantly share a letter: a significance group.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import Dataset
from cmi_bench.evaluation.bootstrap import Floats, sign_test
from cmi_bench.evaluation.evaluate import place_of
from cmi_bench.evaluation.groups import Group
from cmi_bench.evaluation.intervals import DIGITS, exact_bounds, percentile_interval, resample_clusters
from cmi_bench.evaluation.metrics import Metric, Shown, Statistic, metrics_of
from cmi_bench.evaluation.pairing import (
    Comparison,
    Difference,
    Disagreement,
    MetricComparison,
    Run,
    Standing,
    greatest_disagreements,
    pair_rows,
    require_common,
)
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.samples import ResultRow, Samples, dense, read_samples, rows_text


def significance_groups(names: Sequence[str], differing: Collection[frozenset[str]]) -> dict[str, str]:
    """Return the significance groups of each run: one letter for each largest group of runs that do not differ.

    The method is to insert and absorb (Piepho 2004).

    Args:
        names: The runs, the best first: it gets the letter "a".
        differing: The pairs of runs that differ significantly.

    Returns:
        By name, e.g. "ab"; two runs share a letter exactly if they are not among `differing`.

    >>> significance_groups(["x", "y", "z"], [frozenset("xz")])
    {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    groups = [frozenset(names)]
    for pair in differing:
        split = [group - {name} for group in groups for name in (pair if pair <= group else ("",))]
        # Of two equal groups the first stays; a group within another says nothing new.
        groups = [
            group
            for index, group in enumerate(split)
            if not any(group < other or (group == other and at < index) for at, other in enumerate(split))
        ]
    position = {name: index for index, name in enumerate(names)}
    ordered = sorted(groups, key=lambda group: sorted(position[name] for name in group))
    letters = list(zip(_letters(), ordered, strict=False))
    return {name: "".join(letter for letter, group in letters if name in group) for name in names}


def _letters() -> itertools.chain[str]:
    """a, b, ... z, then with numbers: a2, b2, ..."""
    more = (f"{letter}{number}" for number in itertools.count(2) for letter in ascii_lowercase)
    return itertools.chain(ascii_lowercase, more)


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


MCNEMAR, SIGN_TEST, BOOTSTRAP = "exact McNemar", "sign test", "paired bootstrap"


@dataclass(frozen=True)
class MetricSamples:
    """What is known of all runs by one metric."""

    metric: Metric
    samples: Mapping[str, Samples]
    """By run, the rows that are compared."""
    statistics: Mapping[str, Statistic]
    """By run, the metric."""
    resampled: Mapping[str, Floats]
    """By run, the metric over the same resamples; runs without a value are not in it, and none is where
    nothing could be drawn."""
    cluster: NDArray[np.intp]
    confidence: float

    def standings(self) -> tuple[Standing, ...]:
        """Return the runs, the best first and those without a value last."""
        standings = [self._standing(run) for run in self.samples]
        return tuple(sorted(standings, key=lambda one: -np.inf if one.value is None else one.value, reverse=True))

    def differences(self) -> tuple[Difference, ...]:
        """Return each pair of runs with a value once; p-values are not corrected."""
        measured = {run: value for run, (value, _) in self.statistics.items() if value is not None}
        return tuple(
            self._difference(first, second, measured[first] - measured[second])
            for first, second in itertools.combinations(measured, 2)
        )

    def _standing(self, run: str) -> Standing:
        value, reason = self.statistics[run]
        if value is None:
            return Standing(run=run, value=None, interval=None, note=reason)
        exact = exact_bounds(self.samples[run], self.metric, self.confidence)
        interval = percentile_interval(self.resampled.get(run), self.cluster, self.confidence, exact=exact)
        return Standing(run=run, value=value, interval=interval)

    def _difference(self, first: str, second: str, value: float) -> Difference:
        # Rounded, lest two scales of the same scores seem to differ consistently in the last digit.
        resampled = np.round(self.resampled[first] - self.resampled[second], DIGITS) if self.resampled else None
        interval = percentile_interval(resampled, self.cluster, self.confidence)
        p_bootstrap = None if resampled is None or interval.low is None else bootstrap_p(resampled)
        counts = credit_counts(self.metric, self.samples[first], self.samples[second])
        return Difference(
            first=first,
            second=second,
            value=round(value, DIGITS),
            interval=interval,
            test=BOOTSTRAP if counts is None else counts.test,
            p=p_bootstrap if counts is None else sign_test(counts.better, counts.worse),
            p_bootstrap=p_bootstrap,
            better=None if counts is None else counts.better,
            worse=None if counts is None else counts.worse,
        )


class CreditCounts(NamedTuple):
    """On how many pairs one run does better than another."""

    better: int
    worse: int
    test: str
    """What a test on these counts is called."""


def credit_counts(metric: Metric, first: Samples, second: Samples) -> CreditCounts | None:
    """Count the rows on which one run gets more credit than the other; None for a metric that is no mean of credits.

    Half a credit more is more: without half credits the test on these counts is McNemar's.
    """
    if metric.credit is None:
        return None
    ours, theirs = metric.credit(first.label, first.prediction), metric.credit(second.label, second.prediction)
    halved = bool((ours == 0.5).any() or (theirs == 0.5).any())
    return CreditCounts(int((ours > theirs).sum()), int((ours < theirs).sum()), SIGN_TEST if halved else MCNEMAR)


def compare_metrics(
    samples_of: Mapping[str, Samples],
    metrics: Sequence[Metric],
    settings: MetricSettings,
    *,
    group: Group | None = None,
) -> list[MetricComparison]:
    """Compare runs by each metric; p-values are not yet corrected, significance groups not yet given.

    Args:
        samples_of: By run; the k-th rows of all runs are the same row.
        metrics: The task's.
        settings: How intervals are made.
        group: Which of the rows; None for all.

    Returns:
        One for each metric; none where no run answered.
    """
    chosen = samples_of if group is None else {run: one.take(group.members) for run, one in samples_of.items()}
    judged = {run: samples for run, samples in chosen.items() if samples.is_evaluated.any()}
    if not judged:
        return []
    everywhere = np.logical_and.reduce([samples.is_evaluated for samples in judged.values()])
    common = {run: samples.take(everywhere) for run, samples in judged.items()}
    first = next(iter(common.values()))
    note = _note(chosen, judged)
    return [
        MetricComparison(
            dataset=first.dataset.name,
            task=first.task.name,
            metric=name,
            group="" if group is None else group.value,
            n=one_metric.cluster.size,
            n_clusters=int(one_metric.cluster.max(initial=-1)) + 1,
            standings=one_metric.standings(),
            differences=one_metric.differences(),
            note=note,
        )
        for name, one_metric in _metric_samples(common, metrics, settings, place_of(first, group)).items()
    ]


def _metric_samples(
    common: Mapping[str, Samples], metrics: Sequence[Metric], settings: MetricSettings, place: tuple[str, ...]
) -> dict[str, MetricSamples]:
    """All runs and metrics over the same resamples: that is what pairs them."""
    cluster = dense(next(iter(common.values())).cluster, settings.cluster)
    statistics = {
        (run, metric.name): metric.value(samples.label, samples.prediction)
        for run, samples in common.items()
        for metric in metrics
    }
    weighted = {
        (run, metric.name): metric.weighted_over(samples.label, samples.prediction, cluster)
        for run, samples in common.items()
        for metric in metrics
        if statistics[run, metric.name].value is not None
    }
    resampled = resample_clusters(weighted, cluster, settings, place)
    return {
        metric.name: MetricSamples(
            metric=metric,
            samples=common,
            statistics={run: statistics[run, metric.name] for run in common},
            resampled={run: resampled[run, metric.name] for run in common if (run, metric.name) in resampled},
            cluster=cluster,
            confidence=settings.confidence,
        )
        for metric in metrics
    }


def _note(chosen: Mapping[str, Samples], judged: Mapping[str, Samples]) -> str:
    parts = [f"{run} has no usable prediction here" for run in chosen if run not in judged]
    for run, samples in judged.items():
        if missing := int((samples.is_labelled & ~samples.is_evaluated).sum()):
            parts.append(f"{rows_text(missing)} failed in {run}, left out for all")
    return "; ".join(parts)


SHOWN_DISAGREEMENTS = 50
"""Rows kept of each task: as many as anyone listens to."""


def compare_runs(runs: Sequence[Run], settings: MetricSettings, *, alpha: float, intersect: bool = False) -> Comparison:
    """Tell which differences between runs are real.

    Args:
        runs: Two or more.
        settings: Protocol and how intervals are made; groups are not looked at.
        alpha: Level of significance of each family of comparisons.
        intersect: Compare runs over different rows on those in common.

    Raises:
        UserError: The runs are over different rows, or a label is not understood.
    """
    paired = pair_rows(runs, settings.split)
    notes = require_common(paired, intersect=intersect)
    origins = {run.label: run.origin for run in runs}
    metric_comparisons: list[MetricComparison] = []
    disagreements: list[Disagreement] = []
    for dataset, rows_of in paired.rows_of.items():
        for samples_of in paired_samples(dataset, rows_of, settings, origins):
            task = next(iter(samples_of.values())).task
            metric_comparisons += compare_metrics(samples_of, metrics_of(task, Shown.SUMMARY, settings), settings)
            disagreements += greatest_disagreements(samples_of, rows_of, count=SHOWN_DISAGREEMENTS)
    corrected = correct_families(metric_comparisons, alpha)
    return Comparison(
        settings=settings,
        alpha=alpha,
        origins=origins,
        metric_comparisons=tuple(corrected),
        disagreements=tuple(disagreements),
        notes=(*notes, *resolution_notes(corrected, settings, alpha)),
    )


def paired_samples(
    dataset: Dataset, rows_of: Mapping[str, Sequence[ResultRow]], settings: MetricSettings, origins: Mapping[str, str]
) -> list[dict[str, Samples]]:
    """Return, for each task of a dataset, the samples of all runs."""
    protocol = PROTOCOLS[settings.protocol]
    return [
        {run: read_samples(rows, dataset, task, protocol, origin=origins[run]) for run, rows in rows_of.items()}
        for task in dataset.tasks
    ]


def correct_families(metric_comparisons: Sequence[MetricComparison], alpha: float) -> list[MetricComparison]:
    """Correct the p-values by Holm's method and group the runs.

    A family is what is read together as one question: all comparisons of one metric on one dataset,
    over its tasks or groups. Metrics are not added up, as SRCC, LCC and K-Tau ask the same thing again.
    """
    families: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, metric_comparison in enumerate(metric_comparisons):
        for at, difference in enumerate(metric_comparison.differences):
            if difference.p is not None:
                families.setdefault((metric_comparison.dataset, metric_comparison.metric), []).append((number, at))
    p_holm: dict[tuple[int, int], float] = {}
    for places in families.values():
        p_values = [metric_comparisons[number].differences[at].p or 0.0 for number, at in places]
        p_holm |= dict(zip(places, holm(p_values), strict=True))
    sizes = Counter({family: len(places) for family, places in families.items()})
    corrected = [
        replace(
            metric_comparison,
            family_size=sizes[metric_comparison.dataset, metric_comparison.metric],
            differences=tuple(
                replace(difference, p_holm=p_holm.get((number, at)))
                for at, difference in enumerate(metric_comparison.differences)
            ),
        )
        for number, metric_comparison in enumerate(metric_comparisons)
    ]
    return [_with_groups(metric_comparison, alpha) for metric_comparison in corrected]


def is_significant(difference: Difference, alpha: float) -> bool:
    """Tell whether a difference is more than chance, after correction."""
    return difference.p_holm is not None and difference.p_holm <= alpha


def resolution_notes(
    metric_comparisons: Sequence[MetricComparison], settings: MetricSettings, alpha: float
) -> list[str]:
    """Warn where so much is compared that no bootstrap of this size could find anything."""
    finest = 2 / (settings.resamples + 1)
    largest = max(
        (
            metric_comparison.family_size
            for metric_comparison in metric_comparisons
            if _is_by_bootstrap(metric_comparison)
        ),
        default=0,
    )
    if largest * finest <= alpha:
        return []
    needed = int(2 * largest / alpha) + 1
    return [
        f"{largest} comparisons are corrected together: with {settings.resamples} resamples few correlations can "
        f"differ significantly. metrics.resamples={needed} would be enough."
    ]


def _is_by_bootstrap(metric_comparison: MetricComparison) -> bool:
    return any(difference.better is None for difference in metric_comparison.differences)


def _with_groups(metric_comparison: MetricComparison, alpha: float) -> MetricComparison:
    tested = [one for one in metric_comparison.differences if one.p_holm is not None]
    compared = {run for one in tested for run in (one.first, one.second)}
    differing = [frozenset((one.first, one.second)) for one in tested if is_significant(one, alpha)]
    groups = significance_groups([one.run for one in metric_comparison.standings if one.run in compared], differing)
    standings: tuple[Standing, ...] = tuple(
        replace(one, significance_group=groups.get(one.run, "")) for one in metric_comparison.standings
    )
    return replace(metric_comparison, standings=standings)
