"""The page's sections of plots: by group and clip length, by margin, against human scores, and the scores' spread."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from cmi_bench.data.datasets import NO_REF, REF, Dataset, MosTask, PairTask, Task, dataset_by_name
from cmi_bench.evaluation.calibration import (
    BradleyTerryFit,
    MarginBin,
    chance_error,
    expected_calibration_error,
    fit_bradley_terry,
    margin_bins,
)
from cmi_bench.evaluation.evaluate import DetailRecord, Measurement, SummaryRecord
from cmi_bench.evaluation.groups import DURATION_KEY
from cmi_bench.evaluation.metrics import metric_by_name
from cmi_bench.evaluation.samples import DecidedPairs, Samples, decided_pairs
from cmi_bench.reporting.format import percent_name
from cmi_bench.reporting.html.charts import (
    ScoreSpread,
    Section,
    ValueRow,
    distribution_plot,
    drawable,
    interval_plot,
    margin_plot,
    scatter_plot,
)
from cmi_bench.reporting.html.format import (
    PageTable,
    ReportSource,
    count,
    key_name,
    main_metric,
    number,
    score,
    telling_bounds,
    value_name,
    with_interval,
)
from cmi_bench.reporting.plots import Plot
from cmi_bench.types import Aspect


class Figure(NamedTuple):
    """A plot with its title and caption."""

    title: str
    caption: str
    plot: Plot


class FigureSection(NamedTuple):
    """Plots that answer one question."""

    anchor: str
    """Its id in the page."""
    title: str
    short: str
    """Its title in the list of sections."""
    lead: str
    """What is shown, and how to read it."""
    figures: Sequence[Figure]
    empty: str = ""
    """What to say where there is no figure."""
    table: PageTable | None = None
    """The numbers, above the figures."""


def file_stem(*words: str) -> str:
    """Return a plot's name, of letters, digits and hyphens."""
    return "-".join(words).replace("_", "-").replace(" ", "-").lower()


def task_stem(kind: str, dataset: Dataset, task: Task) -> str:
    """Return the name of a plot of one task, e.g. "margins-cmi-pref-musicality"."""
    return file_stem(kind, dataset.slug, task.name)


def _slug(name: str) -> str:
    dataset = dataset_by_name(name)
    return name if dataset is None else dataset.slug


def group_section(source: ReportSource) -> FigureSection:
    """Return a plot of the groups of each task that has any."""
    records = [record for record in source.evaluation.detail if record.group_key != DURATION_KEY]
    overall = {(record.dataset, record.task): record for record in source.evaluation.summary}
    lead = (
        "Dots are the groups' values with {interval}, their number of rows at the right. "
        "The line is the value over all rows of the task, the band its interval; dashes are chance."
    )
    return FigureSection(
        "groups",
        "Accuracy by group",
        "Groups",
        lead.format(interval=_describe_intervals(source)),
        [
            figure
            for (dataset, task), members in _by_task(records)
            for figure in _group_figure(overall[dataset, task], members)
        ],
        empty="No groups were made in this run; metrics=default and metrics=full make them.",
    )


def duration_section(source: ReportSource) -> FigureSection:
    """Return a plot of each metric by clip length."""
    records = [record for record in source.evaluation.detail if record.group_key == DURATION_KEY]
    empty = (
        "No duration is known, or none lies in a bin; the notes under the summary say which."
        if source.evaluation.settings.by_duration
        else "Not part of this run: metrics=full or metrics.by_duration=true makes it."
    )
    metrics = dict.fromkeys(main_metric(record) for record in records)
    return FigureSection(
        "duration",
        "By clip length",
        "Clip length",
        f"A pair's length is the mean of its clips'. Dots with {_describe_intervals(source)}; dashes are chance.",
        [
            figure
            for metric in metrics
            for figure in _duration_figure(metric, [record for record in records if main_metric(record) == metric])
        ],
        empty=empty,
    )


DRAWN_GROUPS = 50
"""Groups of one kind in a plot at most."""


def _group_figure(overall: SummaryRecord, members: Sequence[DetailRecord]) -> Iterator[Figure]:
    metric = main_metric(overall)
    sections = []
    left_out = ""
    for _, grouped in groupby(members, key=lambda record: record.group_key):
        of_key = sorted(grouped, key=_is_part)
        if len(of_key) > DRAWN_GROUPS:
            left_out += f" Of {len(of_key):,} groups by {key_name(of_key[0])}, the {DRAWN_GROUPS} with the most rows."
            of_key = sorted(of_key, key=lambda record: -record.n)[:DRAWN_GROUPS]
        sections.append(Section(key_name(of_key[0]), list(_rows(of_key, metric))))
    if not any(section.rows for section in sections):
        return
    title = f"{overall.dataset}, {overall.task}"
    plot = interval_plot(
        [section for section in sections if section.rows],
        metric=metric,
        name=file_stem("groups", _slug(overall.dataset), overall.task),
        alt=f"{metric} of {title} by group; the values are in the table of all groups.",
        overall=next(_rows([overall], metric), None),
        neutral=metric_by_name(metric).chance,
    )
    yield Figure(title, f"All rows: {metric} {with_interval(overall, metric)}.{left_out}", plot)


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
        neutral=metric_by_name(metric).chance,
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


def _describe_intervals(source: ReportSource) -> str:
    settings = source.evaluation.settings
    if not settings.resamples:
        return "no intervals (switched off)"
    return f"{percent_name(settings.confidence)} intervals"


LEAD = (
    "Does a larger difference of scores mean a surer answer? Pairs are cut by margin into bins of equal number; dots "
    "are the accuracy in each, with its {confidence} interval. The curve is the Bradley-Terry model with one "
    "scale, P(A preferred) = 1 / (1 + exp(\N{MINUS SIGN}β (score A \N{MINUS SIGN} score B))), β by maximum likelihood. "
    "The expected calibration error (ECE) is the mean distance of the dots from it; it counts as far as it exceeds "
    "what labels drawn from the curve itself give by chance. Pairs that people called a tie are left out."
)


def margin_section(source: ReportSource) -> FigureSection | None:
    """Return a plot for each task on pairs; None where there is no such task."""
    tasks = [samples for samples in source.evaluation.samples if isinstance(samples.task, PairTask)]
    if not tasks:
        return None
    confidence = percent_name(source.evaluation.settings.confidence)
    return FigureSection(
        "margins",
        "Accuracy by margin",
        "Margins",
        LEAD.format(confidence=confidence),
        list(_margin_figures(tasks, source)),
        empty="No pair has a preference and two scores; a preferred side that is only stated has no margin.",
    )


def _margin_figures(tasks: list[Samples], source: ReportSource) -> Iterator[Figure]:
    settings = source.evaluation.settings
    for samples in tasks:
        pairs = decided_pairs(samples, settings.cluster)
        if not pairs.rows.size:
            continue
        fit = fit_bradley_terry(pairs, confidence=settings.confidence)
        bins = margin_bins(pairs, fit.beta or 0.0, confidence=settings.confidence)
        title = f"{samples.dataset.name}, {samples.task.name}"
        lowest, highest = bins[0], bins[-1]
        alt = (
            f"Accuracy by margin for {count(pairs.rows.size, 'pair')}: {number(lowest.accuracy, 2)} at the smallest "
            f"margins, {number(highest.accuracy, 2)} at the largest."
        )
        plot = margin_plot(bins, fit.beta, name=task_stem("margins", samples.dataset, samples.task), alt=alt)
        yield Figure(title, _caption(pairs, bins, fit, settings.seed), plot)


def _caption(pairs: DecidedPairs, bins: list[MarginBin], fit: BradleyTerryFit, seed: int) -> str:
    if fit.beta is None:
        return f"{count(pairs.rows.size, 'pair')}; no curve: {fit.reason}."
    bounds = "" if fit.ci_low is None or fit.ci_high is None else f" [{score(fit.ci_low)}, {score(fit.ci_high)}]"
    error, chance = expected_calibration_error(bins), chance_error(pairs, fit.beta, seed=seed)
    assert error is not None
    assert chance is not None
    return (
        f"{count(pairs.rows.size, 'pair')}; β = {score(fit.beta)}{bounds} per point of score; "
        f"ECE {number(error)} over {count(len(bins), 'bin')}; chance alone gives {number(chance)}."
    )


def scatter_section(source: ReportSource) -> FigureSection | None:
    """Return a scatter plot for each task on single clips; None where there is no such task."""
    evaluation = source.evaluation
    tasks = [
        (record, samples)
        for record, samples in zip(evaluation.summary, evaluation.samples, strict=True)
        if isinstance(samples.task, MosTask)
    ]
    if not tasks:
        return None
    return FigureSection(
        "people",
        "Predicted against human scores",
        "People",
        "Each dot is a clip: its mean opinion score, and the model's score. The line is the least-squares fit.",
        list(_scatter_figures(tasks, evaluation.settings.seed)),
        empty="No clip has both a label and a prediction.",
    )


DOTS, DOTS_OF_PAGE = 2000, 12_000
"""Clips drawn in one plot at most, and in all plots of a page: a dot takes 200 bytes."""


def _scatter_figures(tasks: list[tuple[SummaryRecord, Samples]], seed: int) -> Iterator[Figure]:
    most = min(DOTS, DOTS_OF_PAGE // len(tasks))
    for record, samples in tasks:
        if not (n_drawable := int(drawable(samples).sum())):
            continue
        sampled = f"; {most:,} of them are drawn, chosen by chance (seed {seed})" if n_drawable > most else ""
        title = f"{record.dataset}, {record.task}"
        metrics = "; ".join(f"{metric} {with_interval(record, metric)}" for metric in record.metrics)
        alt = f"Scatter plot of predicted {record.task} against mean opinion score, {count(record.n, 'clip')}."
        name = task_stem("scores", samples.dataset, samples.task)
        plot = scatter_plot(samples, most=most, seed=seed, name=name, alt=alt)
        yield Figure(title, f"{count(record.n, 'clip')}; {metrics}{sampled}", plot)


def spread_section(source: ReportSource) -> FigureSection:
    """Return a plot for each of the two things that are judged."""
    return FigureSection(
        "scores",
        "Distribution of scores",
        "Scores",
        "Counts of clips over the model's own scale, one panel a dataset. For pairs, the clips that people preferred "
        "are apart from the others; pairs that they called a tie are left out.",
        [figure for aspect in Aspect for figure in _figure(aspect, source)],
        empty="No row has a score.",
    )


def _figure(aspect: Aspect, source: ReportSource) -> Iterator[Figure]:
    spreads = [
        spread
        for samples in source.evaluation.samples
        if samples.task.aspect is aspect
        for spread in _spread(samples, source)
    ]
    if spreads:
        headings = ", ".join(spread.heading for spread in spreads)
        plot = distribution_plot(
            spreads,
            axis=f"{aspect} score",
            name=file_stem("distribution", aspect),
            alt=f"Histograms of the {aspect} scores in {headings}.",
        )
        yield Figure(aspect.capitalize(), "", plot)


def _spread(samples: Samples, source: ReportSource) -> Iterator[ScoreSpread]:
    heading = samples.dataset.name
    if isinstance(samples.task, MosTask):
        scores = samples.prediction[np.isfinite(samples.prediction)]
        if scores.size:
            yield ScoreSpread(heading, scores)
    else:
        pairs = decided_pairs(samples)
        if pairs.rows.size:
            yield ScoreSpread(heading, pairs.preferred, pairs.other)
