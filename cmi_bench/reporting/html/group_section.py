"""Accuracy by group, and metrics by clip length."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from cmi_bench.data.datasets import DATASETS
from cmi_bench.evaluation.groups import NO_REF, REF
from cmi_bench.evaluation.metrics import ACC
from cmi_bench.evaluation.records import DetailRecord, Measurement, SummaryRecord
from cmi_bench.reporting.html.figures import Figure, FigureSection, file_stem
from cmi_bench.reporting.html.group_names import DURATION, key_name, value_name
from cmi_bench.reporting.html.source import ReportSource
from cmi_bench.reporting.html.wording import main_metric, telling_bounds, with_interval
from cmi_bench.reporting.number_text import percent_name
from cmi_bench.reporting.plots.interval_rows import Section, ValueRow, interval_plot

CHANCE = {ACC: 0.5}
"""By metric; a correlation's is 0."""
SLUGS = {dataset.name: dataset.slug for dataset in DATASETS}


def group_section(source: ReportSource) -> FigureSection:
    """Return a plot of the groups of each task that has any."""
    records = [record for record in source.evaluation.detail if record.group_key != DURATION]
    overall = {(record.dataset, record.task): record for record in source.evaluation.summary}
    lead = (
        "Dots are the groups' values with {interval}, their number of rows at the right. "
        "The line is the value over all rows of the task, the band its interval; dashes are chance."
    )
    return FigureSection(
        "groups",
        "Accuracy by group",
        "Groups",
        lead.format(interval=_interval_words(source)),
        [
            figure
            for (dataset, task), members in _by_task(records)
            for figure in _group_figure(overall[dataset, task], members)
        ],
        empty="No groups were made in this run; metrics=default and metrics=full make them.",
    )


def duration_section(source: ReportSource) -> FigureSection:
    """Return a plot of each metric by clip length."""
    records = [record for record in source.evaluation.detail if record.group_key == DURATION]
    empty = (
        "No duration is known, or none lies in a bin; the notes under the summary say which."
        if source.evaluation.settings.by_duration
        else "Not asked for in this run; metrics=full or metrics.by_duration=true does."
    )
    metrics = dict.fromkeys(main_metric(record) for record in records)
    return FigureSection(
        "duration",
        "By clip length",
        "Clip length",
        f"A pair's length is the mean of its clips'. Dots with {_interval_words(source)}; dashes are chance.",
        [
            figure
            for metric in metrics
            for figure in _duration_figure(metric, [record for record in records if main_metric(record) == metric])
        ],
        empty=empty,
    )


def _group_figure(overall: SummaryRecord, members: Sequence[DetailRecord]) -> Iterator[Figure]:
    metric = main_metric(overall)
    sections = [
        Section(key_name(chosen[0]), list(_rows(chosen, metric)))
        for _, grouped in groupby(members, key=lambda record: record.group_key)
        if (chosen := sorted(grouped, key=_is_part))
    ]
    if not any(section.rows for section in sections):
        return
    title = f"{overall.dataset}, {overall.task}"
    plot = interval_plot(
        [section for section in sections if section.rows],
        metric=metric,
        name=file_stem("groups", SLUGS[overall.dataset], overall.task),
        alt=f"{metric} of {title} by group; the values are in the table of all groups.",
        overall=next(_rows([overall], metric), None),
        neutral=CHANCE.get(metric, 0.0),
    )
    yield Figure(title, f"All rows: {metric} {with_interval(overall, metric)}.", plot)


def _duration_figure(metric: str, records: Sequence[DetailRecord]) -> Iterator[Figure]:
    sections = [
        Section(f"{dataset}, {task}", list(_rows(members, metric)))
        for (dataset, task), members in _by_task(sorted(records, key=_lower_edge))
    ]
    if not any(section.rows for section in sections):
        return
    plot = interval_plot(
        [section for section in sections if section.rows],
        metric=metric,
        name=file_stem("duration", metric),
        alt=f"{metric} by clip length; the values are in the table of all groups.",
        neutral=CHANCE.get(metric, 0.0),
    )
    yield Figure(f"{metric} by clip length", "", plot)


def _rows(records: Iterable[Measurement], metric: str) -> Iterator[ValueRow]:
    """Yield what is defined."""
    for record in records:
        value = record.metrics.get(metric)
        if value is None:
            continue
        bounds = telling_bounds(record.intervals.get(metric))
        yield ValueRow(value_name(record) if isinstance(record, DetailRecord) else "", value, bounds, record.n)


def _by_task(records: Iterable[DetailRecord]) -> list[tuple[tuple[str, str], list[DetailRecord]]]:
    """Gather the records of each task: those of CMI-Pref come interleaved."""
    gathered: dict[tuple[str, str], list[DetailRecord]] = {}
    for record in records:
        gathered.setdefault((record.dataset, record.task), []).append(record)
    return list(gathered.items())


def _is_part(record: DetailRecord) -> bool:
    """Put the groups that others are part of first."""
    return record.ref_category in (NO_REF, REF)


def _lower_edge(record: DetailRecord) -> float:
    return float(record.group_value.strip("[])").split(",")[0])


def _interval_words(source: ReportSource) -> str:
    settings = source.evaluation.settings
    if not settings.resamples:
        return "no intervals (switched off)"
    return f"{percent_name(settings.confidence)} bootstrap intervals (exact ones where resampling tells nothing)"
