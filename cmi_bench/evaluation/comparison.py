"""Which differences between runs are real: paired tests on the same rows, corrected for their number.

Runs that do not differ significantly share a letter: a significance group.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase

import numpy as np

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import Dataset
from cmi_bench.evaluation.evaluate import place_of
from cmi_bench.evaluation.groups import Group
from cmi_bench.evaluation.intervals import BOOTSTRAP, DIGITS, ModelMetric, clustered_rows, paired_test
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
from cmi_bench.evaluation.proportions import sign_test
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.reading import RowView, read_rows
from cmi_bench.evaluation.samples import SampleReader, Samples, rows_text


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


def _standings(metrics: Mapping[str, ModelMetric], statistics: Mapping[str, Statistic]) -> tuple[Standing, ...]:
    """Return the runs, the best first and those without a value last."""
    standings = [
        Standing(run=run, value=None, interval=None, note=statistic.reason)
        if statistic.value is None
        else Standing(run=run, value=statistic.value, interval=metrics[run].interval())
        for run, statistic in statistics.items()
    ]
    return tuple(sorted(standings, key=lambda one: -np.inf if one.value is None else one.value, reverse=True))


def _difference(first: tuple[str, ModelMetric], second: tuple[str, ModelMetric]) -> Difference:
    """Return the difference of two runs that have a value; its p-value is not corrected."""
    (first_run, one), (second_run, other) = first, second
    test = paired_test(one, other)
    lead = None if one.metric.credit is None else one.credit - other.credit
    better, worse = (None, None) if lead is None else (int((lead > 0).sum()), int((lead < 0).sum()))
    return Difference(
        first=first_run,
        second=second_run,
        value=round(one.value - other.value, DIGITS),
        interval=test.interval,
        test=test.name,
        p=test.p,
        p_mcnemar=None if better is None or worse is None else sign_test(better, worse),
        better=better,
        worse=worse,
    )


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
    common = {run: samples.take(everywhere).evaluated() for run, samples in judged.items()}
    first = next(iter(common.values()))
    rows = clustered_rows(first, settings, place_of(first, group))
    note = _note(chosen, judged)
    found = []
    for metric in metrics:
        if metric.is_of_systems:  # a few systems tell no two models apart
            continue
        statistics = {run: metric.value(samples.label, samples.prediction) for run, samples in common.items()}
        measured = {
            run: ModelMetric(metric, common[run], value, rows)
            for run, (value, _) in statistics.items()
            if value is not None
        }
        found.append(
            MetricComparison(
                dataset=first.dataset.name,
                task=first.task.name,
                metric=metric.name,
                group="" if group is None else group.value,
                n=rows.n,
                n_clusters=rows.clusters.count,
                unit=rows.clusters.unit,
                standings=_standings(measured, statistics),
                differences=tuple(itertools.starmap(_difference, itertools.combinations(measured.items(), 2))),
                note=note,
            )
        )
    return found


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
    dataset: Dataset, rows_of: Mapping[str, RowView], settings: MetricSettings, origins: Mapping[str, str]
) -> list[dict[str, Samples]]:
    """Return, for each task of a dataset, the samples of all runs."""
    readers = {run: SampleReader(dataset, PROTOCOLS[settings.protocol], origin=origins[run]) for run in rows_of}
    for run, rows in rows_of.items():
        read_rows(rows, readers[run])
    tasks = [task for task in dataset.tasks if any(task in reader.tasks for reader in readers.values())]
    samples = {run: reader.samples(tasks) for run, reader in readers.items()}
    return [{run: of_run[at] for run, of_run in samples.items()} for at in range(len(tasks))]


def correct_families(metric_comparisons: Sequence[MetricComparison], alpha: float) -> list[MetricComparison]:
    """Correct the p-values by Holm's method and group the runs.

    A family is a column of a table: all pairs of runs by one metric over one task's rows, or a group of them. Where no
    two runs differ, the chance that any two of a column are told apart is at most `alpha`.
    """
    return [_with_groups(_corrected(metric_comparison), alpha) for metric_comparison in metric_comparisons]


def _corrected(metric_comparison: MetricComparison) -> MetricComparison:
    p_values = [one.p for one in metric_comparison.differences if one.p is not None]
    corrected = iter(holm(p_values))
    differences = tuple(
        one if one.p is None else replace(one, p_holm=next(corrected)) for one in metric_comparison.differences
    )
    return replace(metric_comparison, family_size=len(p_values), differences=differences)


def is_significant(difference: Difference, alpha: float) -> bool:
    """Tell whether a difference is more than chance, after correction."""
    return difference.p_holm is not None and difference.p_holm <= alpha


def resolution_notes(
    metric_comparisons: Sequence[MetricComparison], settings: MetricSettings, alpha: float
) -> list[str]:
    """Warn where so much is compared that no bootstrap of this size could find anything."""
    by_bootstrap = (one for one in metric_comparisons if any(pair.test == BOOTSTRAP for pair in one.differences))
    largest = max((one.family_size for one in by_bootstrap), default=0)
    if largest * 2 / (settings.resamples + 1) <= alpha:
        return []
    needed = int(2 * largest / alpha) + 1
    return [
        f"{largest} comparisons are corrected together: with {settings.resamples} resamples few of them can "
        f"differ significantly. metrics.resamples={needed} would be enough."
    ]


def _with_groups(metric_comparison: MetricComparison, alpha: float) -> MetricComparison:
    tested = [one for one in metric_comparison.differences if one.p_holm is not None]
    compared = {run for one in tested for run in (one.first, one.second)}
    differing = [frozenset((one.first, one.second)) for one in tested if is_significant(one, alpha)]
    groups = significance_groups([one.run for one in metric_comparison.standings if one.run in compared], differing)
    standings: tuple[Standing, ...] = tuple(
        replace(one, significance_group=groups.get(one.run, "")) for one in metric_comparison.standings
    )
    return replace(metric_comparison, standings=standings)
