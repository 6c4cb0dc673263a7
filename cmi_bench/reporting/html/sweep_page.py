"""A sweep's `report.html`: its jobs, the metrics by step, which differences are real, the rows on which jobs differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.evaluation.pairing import Comparison, MetricComparison, Standing
from cmi_bench.reporting.comparison import Behind, behind_best, comparison_title, how_it_was_done
from cmi_bench.reporting.format import p_text, percent_name
from cmi_bench.reporting.html.audio import AudioLink, audio_link
from cmi_bench.reporting.html.disagreements import SHOWN_ROWS, disagreement_lists
from cmi_bench.reporting.html.format import (
    Fact,
    PageCell,
    PageTable,
    count,
    evenly_spaced,
    interval_text,
    number,
    render_page,
)
from cmi_bench.reporting.html.page import PAGE_FILE, run_facts, version_facts
from cmi_bench.reporting.html.sections import Figure
from cmi_bench.reporting.sweep import SignificanceGroups, legend, panels_of, significance_groups_of, sweep_plot
from cmi_bench.reporting.sweep_jobs import SweepJob, Value, best_of, columns_of, has_steps, reasons
from cmi_bench.utils.files import write_text_atomic

MAX_JOBS = 100
"""Jobs in a table; the plots have all of them."""
MAX_REASONS = 20
"""Failures that are told."""


@dataclass(frozen=True, kw_only=True)
class SweepSource:
    """A sweep that ended, with what its page is made from."""

    name: str
    subtitle: str
    """What all jobs score, and with what."""
    swept: Sequence[str]
    """Keys in which they differ."""
    jobs: Sequence[SweepJob]
    comparison: Comparison | None
    """None where jobs were not compared."""
    notes: Sequence[str]
    """What has to be known of the figures, such as why jobs were not compared."""
    metadata: Sequence[Mapping[str, Any]]
    """What the jobs wrote of themselves."""
    audio_roots: Sequence[Path] = ()
    """What the rows' audio paths may be relative to, the likeliest first."""
    allow_outside: bool = False
    """Whether the page may link to audio outside of them."""
    own_roots: Mapping[str, Path] = field(default_factory=dict)
    """By dataset, what the paths of tables of the user's own are relative to."""


def write_sweep_page(source: SweepSource, folder: Path) -> Path:
    """Write `report.html` into the sweep's folder; the same sweep gives the same bytes.

    Its size is bounded: of many jobs and long texts it shows a part, and says which.

    Args:
        source: What to report on.
        folder: The sweep's; links to jobs and audio are relative to it.
    """
    return write_text_atomic(folder / PAGE_FILE, sweep_html(source, folder))


def sweep_html(source: SweepSource, folder: Path) -> str:
    """Return the page's text.

    Args:
        source: What to report on.
        folder: Where the page will be.
    """
    by_step = has_steps(source.jobs)
    jobs = sorted(source.jobs, key=lambda job: job.step or 0) if by_step else list(source.jobs)
    chosen = chosen_jobs(jobs)
    groups = significance_groups_of(source.comparison) if source.comparison else None

    def link(audio: str, dataset: str) -> AudioLink:
        own = source.own_roots.get(dataset)
        roots = source.audio_roots if own is None else (own, *source.audio_roots)
        return audio_link(audio, roots, folder, allow_outside=source.allow_outside)

    labels = [job.label for job in jobs]
    disagreements = source.comparison.disagreements if source.comparison else ()
    return render_page(
        "sweep.html.j2",
        label=source.name,
        subtitle=source.subtitle,
        along="step" if by_step else "job",
        lead=_jobs_lead(jobs, chosen),
        jobs=jobs_table(chosen, groups, folder),
        reasons=_reasons(jobs),
        notes=[*legend(groups), *source.notes],
        figures=_figures(jobs, groups),
        explained=how_it_was_done(source.comparison) if source.comparison else [],
        standings=list(_standings(source.comparison, chosen)),
        lists=disagreement_lists(disagreements, labels, link),
        shown_rows=SHOWN_ROWS,
        facts=[Fact("what differs", ", ".join(source.swept)), *_in_common(map(run_facts, source.metadata))],
        version_facts=_in_common(map(version_facts, source.metadata)),
    )


def chosen_jobs(jobs: Sequence[SweepJob]) -> list[SweepJob]:
    """Return up to `MAX_JOBS` jobs in their order: all; or the best by each main metric, and others evenly between."""
    if len(jobs) <= MAX_JOBS:
        return list(jobs)
    columns = columns_of(jobs, main=True)[: MAX_JOBS // 2]
    best = {column: best_of(jobs, column) for column in columns}
    kept = {
        next(job.number for job in jobs if column in job.values and job.values[column].value == best[column])
        for column in columns
    }
    kept |= {job.number for job in evenly_spaced(jobs, MAX_JOBS - len(kept))}
    return [job for job in jobs if job.number in kept]


def _jobs_lead(jobs: Sequence[SweepJob], chosen: Sequence[SweepJob]) -> str:
    statuses = dict.fromkeys(job.status for job in jobs)
    counts = ", ".join(f"{sum(job.status == status for job in jobs)} {status}" for status in statuses)
    part = (
        f" Shown are {len(chosen)} of them: the first, the last, the best of each column, and others evenly between; "
        "sweep.csv has all."
        if len(chosen) < len(jobs)
        else ""
    )
    return f"{count(len(jobs), 'job')}: {counts}. Bold is the best of a column.{part}"


def jobs_table(jobs: Sequence[SweepJob], groups: SignificanceGroups | None, folder: Path) -> PageTable:
    """Return a line for each job, with its main metrics and a link to its own page if it has one.

    Args:
        jobs: At least one.
        groups: None where they were not compared.
        folder: The sweep's.
    """
    columns = columns_of(jobs, main=True)
    best = {column: best_of(jobs, column) for column in columns}
    steps = any(job.step is not None for job in jobs)
    header = [
        PageCell("job", "text"),
        *([PageCell("step")] if steps else []),
        PageCell("status", "text"),
        *(PageCell(f"{column.dataset} {column.task} {column.metric}", "number wrap") for column in columns),
    ]
    lines = [
        [
            PageCell(job.label, "head", link=_link(job, folder)),
            *([PageCell("" if job.step is None else f"{job.step:,}")] if steps else []),
            PageCell(job.status, "text"),
            *(_value_cell(job, column, best[column], groups) for column in columns),
        ]
        for job in jobs
    ]
    return PageTable("Jobs", header, lines)


def _link(job: SweepJob, folder: Path) -> str:
    return f"{job.number}/{PAGE_FILE}" if (folder / str(job.number) / PAGE_FILE).is_file() else ""


def _value_cell(job: SweepJob, column: MetricKey, best: float | None, groups: SignificanceGroups | None) -> PageCell:
    if (value := job.values.get(column)) is None:
        return PageCell("")
    return PageCell(
        number(value.value),
        below=_bounds(value),
        is_best=value.value == best,
        group=groups.of(column, job.label) if groups else "",
    )


def _bounds(value: Value | Behind) -> str:
    return "" if value.low is None or value.high is None else f"[{number(value.low)}, {number(value.high)}]"


def _reasons(jobs: Sequence[SweepJob]) -> list[str]:
    told = reasons(jobs)
    more = len(told) - MAX_REASONS
    return [*told[:MAX_REASONS], *([f"and {more} more reasons, in sweep.csv"] if more > 0 else [])]


def _figures(jobs: Sequence[SweepJob], groups: SignificanceGroups | None) -> list[Figure]:
    labels = None if has_steps(jobs) else [job.label for job in jobs]
    along = "job" if labels else "step"
    return [
        Figure(
            panel.title,
            "",
            sweep_plot(
                [panel._replace(title="")],
                labels=labels,
                name=f"metric-{at}",
                alt=f"{panel.title} by {along}; the values are in the table of jobs.",
            ),
        )
        for at, panel in enumerate(panels_of(jobs, groups))
    ]


class Standings(NamedTuple):
    """The jobs by one metric, the best first."""

    title: str
    table: PageTable
    note: str


def _standings(comparison: Comparison | None, jobs: Sequence[SweepJob]) -> Iterable[Standings]:
    main = {(one.dataset, one.task, one.metric) for one in columns_of(jobs, main=True)}
    for one in comparison.metric_comparisons if comparison else ():
        if (one.dataset, one.task, one.metric) in main:
            assert comparison is not None
            table = _standings_table(one, comparison, {job.label for job in jobs})
            yield Standings(comparison_title(one), table, one.note)


def _standings_table(one: MetricComparison, comparison: Comparison, shown: set[str]) -> PageTable:
    header = [
        PageCell("job", "text"),
        PageCell(one.metric),
        PageCell("group", "text"),
        *map(PageCell, ("minus the best", "p")),
    ]
    lines = [_standing_cells(one, standing) for standing in one.standings if standing.run in shown]
    level = percent_name(comparison.settings.confidence)
    caption = f"{comparison_title(one)}; the best first, below each figure its {level} interval"
    return PageTable(caption, header, lines)


def _standing_cells(one: MetricComparison, standing: Standing) -> list[PageCell]:
    behind = behind_best(one, standing.run)
    value = "undefined" if standing.value is None else number(standing.value)
    return [
        PageCell(standing.run, "head"),
        PageCell(value, below=interval_text(standing.interval) or standing.note),
        PageCell(standing.significance_group, "text"),
        PageCell("") if behind is None else PageCell(number(behind.value), below=_bounds(behind)),
        PageCell("" if behind is None else p_text(behind.p)),
    ]


def _in_common(facts_of: Iterable[Sequence[Fact]]) -> list[Fact]:
    """Return the facts that are the same in all jobs."""
    listed = list(facts_of)
    return [fact for fact in (listed[0] if listed else ()) if all(fact in facts for facts in listed)]
