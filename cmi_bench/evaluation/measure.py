"""From samples to the numbers of a table's line."""

from collections.abc import Mapping
from typing import Any

from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.groups import Group
from cmi_bench.evaluation.intervals import metric_intervals
from cmi_bench.evaluation.metrics import Metric, group_metrics, summary_metrics
from cmi_bench.evaluation.records import DetailRecord, Status, SummaryRecord
from cmi_bench.evaluation.samples import Samples
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.evaluation.statistic import Statistic


def summary_record(samples: Samples, settings: MetricSettings) -> SummaryRecord:
    """Measure all rows of a task."""
    return SummaryRecord(**_measure(samples, summary_metrics(samples.task, settings), settings, place_of(samples)))


def detail_record(samples: Samples, group: Group, settings: MetricSettings) -> DetailRecord:
    """Measure the rows of a group.

    Args:
        samples: All rows of the task; `group.members` is a mask over them.
        group: The rows chosen.
        settings: How intervals are made.
    """
    return DetailRecord(
        group_key=group.key,
        group_value=group.value,
        ref_category=group.ref_category,
        **_measure(samples.take(group.members), group_metrics(samples.task), settings, place_of(samples, group)),
    )


def place_of(samples: Samples, group: Group | None = None) -> tuple[str, ...]:
    """Return the names of a place in the tables, which is what its random stream is derived from."""
    place = (samples.dataset.name, samples.task.name)
    return place if group is None else (*place, group.key, group.value, group.ref_category or "")


def _measure(
    samples: Samples, metrics: Mapping[str, Metric], settings: MetricSettings, place: tuple[str, ...]
) -> dict[str, Any]:
    """Return the fields of a `Measurement`."""
    evaluated = samples.take(samples.is_evaluated)
    statistics = {name: metric.value(evaluated.label, evaluated.prediction) for name, metric in metrics.items()}
    defined = {name: metric for name, metric in metrics.items() if statistics[name].value is not None}
    is_pair = isinstance(samples.task, PairTask)
    return {
        "dataset": samples.dataset.name,
        "task": samples.task.name,
        "n": evaluated.label.size,
        "metrics": {name: statistic.value for name, statistic in statistics.items()},
        "intervals": metric_intervals(evaluated, defined, settings, place) if settings.resamples else {},
        "n_failed": int(samples.is_failed.sum()) if samples.applicable else 0,
        "n_unlabelled": int((~samples.is_labelled).sum()),
        "n_tied_prediction": int((evaluated.prediction == 0).sum()) if is_pair else None,
        "n_tied_label": int((evaluated.label == 0).sum()) if is_pair else None,
        "status": _status(samples, statistics),
        "protocol": samples.protocol.name,
        "note": _note(samples, statistics),
    }


def _status(samples: Samples, statistics: Mapping[str, Statistic]) -> Status:
    if not samples.applicable:
        return Status.NOT_APPLICABLE
    return Status.UNDEFINED if any(statistic.reason for statistic in statistics.values()) else Status.OK


def _note(samples: Samples, statistics: Mapping[str, Statistic]) -> str:
    if not samples.applicable:
        return f"not applicable: the model gives no {samples.task.judgement} score"
    # Several metrics are often undefined for one reason; it is said once.
    names_of: dict[str, list[str]] = {}
    for name, statistic in statistics.items():
        names_of.setdefault(statistic.reason, []).append(name)
    parts = [f"{', '.join(names)} undefined: {reason}" for reason, names in names_of.items() if reason]
    for failures, fate in (
        (samples.is_failed & samples.is_evaluated, "scored 0"),
        (samples.is_failed & ~samples.is_evaluated, "left out"),
    ):
        if failures.any():
            parts.append(f"{failures.sum()} failed, {fate}")
    return "; ".join(parts)
