"""Every metric with its confidence interval, one a line."""

from collections.abc import Iterator, Mapping

from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.records import DetailRecord, Evaluation, Measurement
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.reporting.columns import COUNT_COLUMNS, Cell
from cmi_bench.reporting.csv_text import csv_text

INTERVAL_COLUMNS = (
    *("dataset", "task", "group_key", "group_value", "ref_category"),
    *("metric", "value", "ci_low", "ci_high", "n", *COUNT_COLUMNS),
    *("protocol", "seed", "resamples", "cluster", "exact_low", "exact_high"),
    *("confidence", "n_clusters", "n_degenerate", "no_interval"),
)
"""`no_interval` says why there is none; `n_degenerate` counts the resamples that were dropped."""


def intervals_csv(evaluation: Evaluation) -> str:
    """Return the text of `metrics_intervals.csv`: the metrics of summary and detail that have a value."""
    records = (*evaluation.summary, *evaluation.detail)
    return csv_text(INTERVAL_COLUMNS, (line for record in records for line in _lines(record, evaluation.settings)))


def _lines(record: Measurement, settings: MetricSettings) -> Iterator[Mapping[str, Cell]]:
    place: dict[str, Cell] = {"dataset": record.dataset, "task": record.task, "n": record.n}
    if isinstance(record, DetailRecord):
        place |= {name: getattr(record, name) for name in ("group_key", "group_value", "ref_category")}
    place |= {name: getattr(record, name) for name in (*COUNT_COLUMNS, "protocol")}
    place |= {name: getattr(settings, name) for name in ("seed", "resamples", "cluster", "confidence")}
    for metric, value in record.metrics.items():
        if value is not None:
            yield {**place, "metric": metric, "value": value, **_cells(record.intervals.get(metric))}


def _cells(interval: Interval | None) -> dict[str, Cell]:
    """Return nothing where intervals are switched off."""
    if interval is None:
        return {}
    return {
        "ci_low": interval.low,
        "ci_high": interval.high,
        "exact_low": None if interval.exact is None else interval.exact.low,
        "exact_high": None if interval.exact is None else interval.exact.high,
        "n_clusters": interval.n_clusters,
        "n_degenerate": interval.n_degenerate,
        "no_interval": interval.reason,
    }
