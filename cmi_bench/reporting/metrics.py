"""The metrics of an evaluation as files: CSV, JSON and LaTeX lines as the public evaluator writes them, and more."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import CMI_PREF, MUSIC_ARENA, MUSIC_EVAL, PAM, MosTask, PairTask, all_datasets
from cmi_bench.evaluation.clusters import POPULATION
from cmi_bench.evaluation.evaluate import DetailRecord, Evaluation, Measurement, SummaryRecord
from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.metrics import (
    Metric,
    Shown,
    all_metrics,
    exact_columns,
    leaderboard_metrics,
    metric_columns,
)
from cmi_bench.reporting.format import csv_text, interval_cells, one_line
from cmi_bench.reporting.raters import rater_cells
from cmi_bench.reporting.uncertainty import uncertainty_cells
from cmi_bench.utils.files import json_text, write_text_atomic

CellValue = str | int | float | None

COUNT_COLUMNS = ("n_failed", "n_unlabelled", "n_tied_prediction", "n_tied_label")
OWN_COLUMNS = (*COUNT_COLUMNS, "status", "protocol", "note")
"""What the public files do not have; each is an attribute of a record."""


def summary_columns() -> tuple[str, ...]:
    """Return the columns of `metrics_summary.csv`."""
    metrics = all_metrics()
    return ("dataset", "task", "n", *(metric.name for metric in metrics), *OWN_COLUMNS, *_interval_columns(metrics))


def detail_columns() -> tuple[str, ...]:
    """Return the columns of `metrics_detail.csv`, where the public file has `ref_category` before the correlations."""
    metrics = all_metrics(Shown.DETAIL)
    pairs = [metric for metric in metrics if metric.task_type is PairTask]
    mos = [metric for metric in metrics if metric.task_type is MosTask]
    return (
        *("dataset", "task", "group_key", "group_value", "n"),
        *(metric.name for metric in pairs),
        "ref_category",
        *(metric.name for metric in mos),
        *OWN_COLUMNS,
        *_interval_columns([*pairs, *mos]),
    )


def _interval_columns(metrics: Sequence[Metric]) -> list[str]:
    bootstrap = [column for metric in metrics for column in metric_columns(metric.name)[1:]]
    exact = [column for metric in metrics if metric.credit is not None for column in exact_columns(metric.name)]
    return [*bootstrap, *exact]


def cells(record: Measurement) -> Mapping[str, CellValue]:
    """Return a record's values by column: metrics that the task does not have are not in it.

    A metric that is undefined or not applicable is None, as is a count that the task does not have.
    """
    group = (
        {"group_key": record.group_key, "group_value": record.group_value} if isinstance(record, DetailRecord) else {}
    )
    category = {"ref_category": record.ref_category} if isinstance(record, DetailRecord) and record.ref_category else {}
    return {
        "dataset": record.dataset,
        "task": record.task,
        **group,
        **category,
        "n": record.n,
        **record.metrics,
        **{column: getattr(record, column) for column in OWN_COLUMNS},
        **_interval_cells(record),
    }


def _interval_cells(record: Measurement) -> Mapping[str, CellValue]:
    """Return the ends of the intervals by column; those of an interval that does not exist are not in it."""
    found: dict[str, CellValue] = {}
    for metric, interval in record.intervals.items():
        if interval.low is not None:
            found |= zip(metric_columns(metric)[1:], (interval.low, interval.high), strict=True)
        if interval.exact is not None:
            found |= zip(exact_columns(metric), interval.exact, strict=True)
    return found


def summary_csv(records: Iterable[SummaryRecord]) -> str:
    """Return the text of `metrics_summary.csv`; a cell without a value is empty."""
    return csv_text(summary_columns(), map(cells, records))


def detail_csv(records: Iterable[DetailRecord]) -> str:
    """Return the text of `metrics_detail.csv`: the header alone where there are no groups."""
    return csv_text(detail_columns(), map(cells, records))


INTERVAL_COLUMNS = (
    *("dataset", "task", "group_key", "group_value", "ref_category"),
    *("metric", "value", "ci_low", "ci_high", "n", *COUNT_COLUMNS),
    *("protocol", "seed", "resamples", "cluster", "exact_low", "exact_high"),
    *("confidence", "n_clusters", "n_degenerate", "no_interval", "method", "unit", "population"),
)
"""`method` says how an interval was made, `unit` what was taken for independent, `population` what it speaks of;
`no_interval` says why there is none; `n_degenerate` counts the bootstrap resamples that were dropped."""


def intervals_csv(evaluation: Evaluation) -> str:
    """Return the text of `metrics_intervals.csv`: the metrics of summary and detail that have a value."""
    records = (*evaluation.summary, *evaluation.detail)
    return csv_text(INTERVAL_COLUMNS, (line for record in records for line in _lines(record, evaluation.settings)))


def _lines(record: Measurement, settings: MetricSettings) -> Iterator[Mapping[str, CellValue]]:
    place: dict[str, CellValue] = {"dataset": record.dataset, "task": record.task, "n": record.n}
    if isinstance(record, DetailRecord):
        place |= {name: getattr(record, name) for name in ("group_key", "group_value", "ref_category")}
    place |= {name: getattr(record, name) for name in (*COUNT_COLUMNS, "protocol")}
    place |= {name: getattr(settings, name) for name in ("seed", "resamples", "cluster", "confidence")}
    for metric, value in record.metrics.items():
        if value is not None:
            yield {**place, "metric": metric, "value": value, **_cells(record.intervals.get(metric))}


def _cells(interval: Interval | None) -> dict[str, CellValue]:
    """Return nothing where intervals are switched off."""
    if interval is None:
        return {}
    return {
        **interval_cells(interval),
        "exact_low": None if interval.exact is None else interval.exact.low,
        "exact_high": None if interval.exact is None else interval.exact.high,
        "n_clusters": interval.n_clusters,
        "n_degenerate": interval.n_degenerate,
        "no_interval": interval.reason,
        "method": interval.method,
        "unit": interval.unit,
        "population": POPULATION.get(interval.unit, ""),
    }


def metrics_json(evaluation: Evaluation, config: Mapping[str, Any] | None = None) -> str:
    """Return the text of `metrics.json`: config, summary, detail, notes.

    Args:
        evaluation: What was measured.
        config: Written as it is, plain JSON values only; None writes the evaluation's own settings.

    Raises:
        ValueError: NaN or infinity in `config`, which are not JSON.
    """
    document = {
        "config": public_config(evaluation.settings) if config is None else dict(config),
        "summary": [cells(record) for record in evaluation.summary],
        "detail": [cells(record) for record in evaluation.detail],
        "notes": evaluation.notes,
        **({"raters": [rater_cells(record) for record in evaluation.raters]} if evaluation.raters else {}),
        **_uncertainty(evaluation),
    }
    return json_text(document)


def _uncertainty(evaluation: Evaluation) -> dict[str, Any]:
    """Return what an ensemble's spread is worth; nothing of another model."""
    records = [uncertainty_cells(record) for record in evaluation.uncertainty]
    return {"uncertainty": records} if records else {}


def public_config(settings: MetricSettings) -> dict[str, Any]:
    """Return settings in the form, and under the names, of the public `eval_benchmark.yaml`."""
    return {
        "filter": {"split": settings.split},
        "metrics": {
            "include_lcc": settings.include_lcc,
            "include_k_tau": settings.include_k_tau,
            "protocol": settings.protocol,
            "resamples": settings.resamples,
            "confidence": settings.confidence,
            "cluster": settings.cluster,
            "seed": settings.seed,
        },
        "groups": {
            "musicarena_by_month": settings.by_month,
            "cmi_by_confidence": settings.by_confidence,
            "cmi_by_modality": settings.by_condition,
            "cmi_by_reference": settings.by_reference,
            "cmi_by_lyrics": settings.by_lyrics,
            "by_duration": settings.by_duration,
            "duration_bin": list(settings.duration_bins),
        },
    }


MUSICALITY, ALIGNMENT, PREFERENCE = "musicality", "alignment", "preference"
CORRELATION_COLUMNS = ("LCC", "SRCC", "K-Tau")
CONFIDENCES = ("<3", "=3", ">3")


class _Line(NamedTuple):
    comment: str
    """What the columns are, after the percent sign."""
    cells: Sequence[str]


class _Lookup:
    """The evaluation's numbers by place in the tables; None where there is none."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._summary = {(record.dataset, record.task): record.metrics for record in evaluation.summary}
        self._detail = {
            (record.dataset, record.task, record.group_key, record.group_value, record.ref_category): record.metrics
            for record in evaluation.detail
        }

    def summary(self, dataset: str, task: str, metric: str) -> float | None:
        """Return a metric over all rows of a task."""
        return self._summary.get((dataset, task), {}).get(metric)

    def cmi_pref(self, task: str, key: str, value: str, ref_category: str | None = None) -> float | None:
        """Return the accuracy over a group of CMI-Pref's rows."""
        return self._detail.get((CMI_PREF.name, task, key, value, ref_category), {}).get("ACC")


def latex_lines(evaluation: Evaluation, label: str) -> str:
    """Return the text of `latex.txt`: the paper's six table lines, each under a comment that names its columns.

    Datasets and metrics that the paper does not have follow, a line for each task.

    Args:
        evaluation: What was measured; a group that was not made is "-".
        label: First cell of each line, written as it is, on one line.
    """
    lookup = _Lookup(evaluation)
    lines = [*(make(lookup) for make in PAPER_LINES), *_further_lines(lookup)]
    return "".join(f"% {line.comment}\n{' & '.join([one_line(label), *line.cells])} \\\\\n" for line in lines)


def _correlation(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.2f}"


def _mean(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _correlations(lookup: _Lookup, dataset: str, task: str) -> list[str]:
    return [_correlation(lookup.summary(dataset, task, metric)) for metric in CORRELATION_COLUMNS]


def _musicality(lookup: _Lookup) -> _Line:
    return _Line(
        "Musicality: Method&Model, PAM(LCC,SRCC,K-Tau), MusicEval(LCC,SRCC,K-Tau), MusicArena(ACC), CMI-Pref(ACC)",
        [
            *_correlations(lookup, PAM.name, MUSICALITY),
            *_correlations(lookup, MUSIC_EVAL.name, MUSICALITY),
            _percent(lookup.summary(MUSIC_ARENA.name, PREFERENCE, "ACC")),
            _percent(lookup.summary(CMI_PREF.name, MUSICALITY, "ACC")),
        ],
    )


def _alignment(lookup: _Lookup) -> _Line:
    text, lyrics, ref, everything = (
        lookup.cmi_pref(ALIGNMENT, "modality", condition)
        for condition in ("text", "text+lyrics", "text+ref", "text+lyrics+ref")
    )
    accuracies = (text, lyrics, ref, everything, _mean(text, lyrics), _mean(ref, everything))
    return _Line(
        "Alignment: Method&Model, PAM(LCC,SRCC,K-Tau), CMI(text,lyrics,audio,all=text+lyrics+ref,w/o audio,w/ audio)",
        [*_correlations(lookup, PAM.name, ALIGNMENT), *map(_percent, accuracies)],
    )


def _final(lookup: _Lookup) -> _Line:
    pam = _mean(*(lookup.summary(PAM.name, task, "SRCC") for task in (MUSICALITY, ALIGNMENT)))
    cmi_pref = _mean(*(lookup.summary(CMI_PREF.name, task, "ACC") for task in (ALIGNMENT, MUSICALITY)))
    return _Line(
        "Final: Training variant, PAM Mean SRCC, MusicEval SRCC, Music Arena Acc, CMI-Pref Mean Acc",
        [
            _correlation(pam),
            _correlation(lookup.summary(MUSIC_EVAL.name, MUSICALITY, "SRCC")),
            _percent(lookup.summary(MUSIC_ARENA.name, PREFERENCE, "ACC")),
            _percent(cmi_pref),
        ],
    )


def _cmi_pref_musicality(lookup: _Lookup) -> _Line:
    values = [
        lookup.summary(CMI_PREF.name, MUSICALITY, "ACC"),
        *(lookup.cmi_pref(MUSICALITY, "confidence", level, "all") for level in CONFIDENCES),
        *(lookup.cmi_pref(MUSICALITY, "modality_type", kind) for kind in ("instru", "vocal")),
    ]
    return _Line(
        "CMI-Pref Musicality: variant, Total, Conf<3, Conf=3, Conf>3, Instru(no lyrics), Vocal(lyrics)",
        list(map(_percent, values)),
    )


def _cmi_pref_alignment(lookup: _Lookup, ref_category: str, conditions: Sequence[str]) -> list[str]:
    values = [
        lookup.cmi_pref(ALIGNMENT, "ref_subset", ref_category),
        *(lookup.cmi_pref(ALIGNMENT, "confidence", level, ref_category) for level in CONFIDENCES),
        *(lookup.cmi_pref(ALIGNMENT, "modality", condition) for condition in conditions),
    ]
    return list(map(_percent, values))


def _cmi_pref_text(lookup: _Lookup) -> _Line:
    return _Line(
        "CMI-Pref Text-Music Alignment (no ref): "
        "variant, Total, Conf<3, Conf=3, Conf>3, Instru(text), Vocal(text+lyrics)",
        _cmi_pref_alignment(lookup, "no_ref", ("text", "text+lyrics")),
    )


def _cmi_pref_reference(lookup: _Lookup) -> _Line:
    return _Line(
        "CMI-Pref Audio-Music Alignment (ref): "
        "variant, Total, Conf<3, Conf=3, Conf>3, Instru(text+ref), Vocal(text+lyrics+ref)",
        _cmi_pref_alignment(lookup, "ref", ("text+ref", "text+lyrics+ref")),
    )


def _further_lines(lookup: _Lookup) -> Iterator[_Line]:
    """Yield what no line of the paper has: all metrics of other datasets, and other metrics of its datasets."""
    for dataset in all_datasets():
        for task in dataset.tasks:
            metrics = [
                metric
                for metric in leaderboard_metrics(task)
                if dataset not in PAPER_DATASETS or math.isinf(metric.paper_position)
            ]
            values = [(metric, lookup.summary(dataset.name, task.name, metric.name)) for metric in metrics]
            if any(value is not None for _, value in values):
                yield _Line(
                    f"{dataset.name} {task.name}: variant, {', '.join(metric.name for metric in metrics)}",
                    [_percent(value) if metric.is_percent else _correlation(value) for metric, value in values],
                )


PAPER_DATASETS = (PAM, MUSIC_EVAL, MUSIC_ARENA, CMI_PREF)
PAPER_LINES: Sequence[Callable[[_Lookup], _Line]] = (
    _musicality,
    _alignment,
    _final,
    _cmi_pref_musicality,
    _cmi_pref_text,
    _cmi_pref_reference,
)


class ReportPaths(NamedTuple):
    """Where the files of an evaluation are."""

    summary_csv: Path
    detail_csv: Path
    intervals_csv: Path
    json: Path
    latex: Path


def write_reports(
    evaluation: Evaluation, folder: Path, *, label: str, config: Mapping[str, Any] | None = None
) -> ReportPaths:
    """Write the result files; each is replaced whole, so a reader never meets half a table.

    Args:
        evaluation: What was measured.
        folder: Where to; made if missing.
        label: The run's name, first cell of the LaTeX lines.
        config: For `metrics.json`, plain JSON values; None writes the evaluation's own settings.
    """
    return ReportPaths(
        summary_csv=write_text_atomic(folder / "metrics_summary.csv", summary_csv(evaluation.summary)),
        detail_csv=write_text_atomic(folder / "metrics_detail.csv", detail_csv(evaluation.detail)),
        intervals_csv=write_text_atomic(folder / "metrics_intervals.csv", intervals_csv(evaluation)),
        json=write_text_atomic(folder / "metrics.json", metrics_json(evaluation, config)),
        latex=write_text_atomic(folder / "latex.txt", latex_lines(evaluation, label)),
    )
