"""Several runs by the metrics of one task, on the rows that all of them answered."""

from collections.abc import Mapping

import numpy as np

from cmi_bench.evaluation.clusters import dense
from cmi_bench.evaluation.comparison.field import Field
from cmi_bench.evaluation.comparison.records import Contest
from cmi_bench.evaluation.groups import Group
from cmi_bench.evaluation.intervals import resample_clusters
from cmi_bench.evaluation.measure import place_of
from cmi_bench.evaluation.metrics import Metric
from cmi_bench.evaluation.samples import Samples
from cmi_bench.evaluation.selection import in_words
from cmi_bench.evaluation.settings import MetricSettings


def hold_contests(
    samples_of: Mapping[str, Samples],
    metrics: Mapping[str, Metric],
    settings: MetricSettings,
    *,
    group: Group | None = None,
) -> list[Contest]:
    """Compare runs by each metric; p-values are not yet corrected, letters not yet given.

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
        Contest(
            dataset=first.dataset.name,
            task=first.task.name,
            metric=name,
            group="" if group is None else group.value,
            n=field.cluster.size,
            n_clusters=int(field.cluster.max(initial=-1)) + 1,
            standings=field.standings(),
            differences=field.differences(),
            note=note,
        )
        for name, field in _fields(common, metrics, settings, place_of(first, group)).items()
    ]


def _fields(
    common: Mapping[str, Samples], metrics: Mapping[str, Metric], settings: MetricSettings, place: tuple[str, ...]
) -> dict[str, Field]:
    """All runs and metrics over the same resamples: that is what pairs them."""
    cluster = dense(next(iter(common.values())).cluster, settings.cluster)
    statistics = {
        (run, name): metric.value(samples.label, samples.prediction)
        for run, samples in common.items()
        for name, metric in metrics.items()
    }
    weighted = {
        (run, name): metrics[name].weighted(common[run].label, common[run].prediction, cluster)
        for (run, name), statistic in statistics.items()
        if statistic.value is not None
    }
    resampled = resample_clusters(weighted, cluster, settings, place)
    return {
        name: Field(
            samples=common,
            statistics={run: statistics[run, name] for run in common},
            resampled={run: resampled[run, name] for run in common if (run, name) in resampled},
            cluster=cluster,
            confidence=settings.confidence,
        )
        for name in metrics
    }


def _note(chosen: Mapping[str, Samples], judged: Mapping[str, Samples]) -> str:
    parts = [f"{run} has no usable prediction here" for run in chosen if run not in judged]
    for run, samples in judged.items():
        if missing := int((samples.is_labelled & ~samples.is_evaluated).sum()):
            parts.append(f"{in_words(missing)} failed in {run}, left out for all")
    return "; ".join(parts)
