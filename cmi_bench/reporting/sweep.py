"""The tables and the plot of a sweep: its jobs as CSV, Markdown, in a terminal, and metrics by training step."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from cmi_bench.evaluation.metrics import MetricKey, metric_columns
from cmi_bench.evaluation.pairing import Comparison
from cmi_bench.reporting.format import csv_text, escape, percent_name, table, text_cell
from cmi_bench.reporting.plots import WIDTH, Colour, Plot, draw_plot, light_frame, plot_label, write_png
from cmi_bench.reporting.sweep_jobs import SweepJob, best_of, columns_of, has_steps, reasons
from cmi_bench.utils.files import write_text_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sweep_csv(jobs: Sequence[SweepJob]) -> str:
    """Return the text of `sweep.csv`: a line for each job, with all metrics and their intervals."""
    columns = columns_of(jobs)
    header = (
        "job",
        "label",
        "step",
        "status",
        "weights",
        *(name for one in columns for name in metric_columns(str(one))),
        "message",
    )
    lines = (
        {
            "job": job.number,
            "label": job.label,
            "step": job.step,
            "status": job.status,
            "weights": job.weights,
            "message": job.message,
        }
        | {
            name: number
            for column, value in job.values.items()
            for name, number in zip(metric_columns(str(column)), value, strict=True)
        }
        for job in jobs
    )
    return csv_text(header, lines)


class SignificanceGroups(NamedTuple):
    """The groups of jobs that do not differ significantly."""

    by_job: Mapping[tuple[MetricKey, str], str]
    """By metric and the job's label."""
    alpha: float

    def of(self, column: MetricKey, label: str) -> str:
        """Return a job's letters, e.g. "ab"; nothing where it was not compared."""
        return self.by_job.get((column, label), "")


def significance_groups_of(comparison: Comparison) -> SignificanceGroups:
    """Return the significance groups of a comparison whose runs have the jobs' labels."""
    return SignificanceGroups(
        {
            (
                MetricKey(metric_comparison.dataset, metric_comparison.task, metric_comparison.metric),
                one.run,
            ): one.significance_group
            for metric_comparison in comparison.metric_comparisons
            if not metric_comparison.group
            for one in metric_comparison.standings
        },
        comparison.alpha,
    )


def legend(groups: SignificanceGroups | None) -> list[str]:
    """Say what the letters mean; nothing where there are none."""
    if groups is None:
        return []
    return [
        f"In a column, jobs that share a letter do not differ significantly (alpha = {groups.alpha:g}): where all are "
        f"equally good, at most {percent_name(groups.alpha)} of such columns tell any two of them apart."
    ]


def sweep_markdown(
    name: str, jobs: Sequence[SweepJob], groups: SignificanceGroups | None, notes: Sequence[str] = ()
) -> str:
    """Return the text of `sweep.md`: a line for each job, the best of each column in bold."""
    columns = columns_of(jobs, main=True)
    best = {column: best_of(jobs, column) for column in columns}
    header = ["job", "what", "status", *(f"{column.dataset} {column.task} {column.metric}" for column in columns)]
    lines = []
    for job in jobs:
        cells = []
        for column in columns:
            value = job.values.get(column)
            text = "" if value is None else f"{value.value:.4f}"
            strong = "**" if value is not None and value.value == best[column] else ""
            cells.append(f"{strong}{text}{strong} {groups.of(column, job.label) if groups else ''}".strip())
        lines.append([str(job.number), escape(job.label), job.status, *cells])
    below = ["\n".join(f"- {escape(reason)}" for reason in reasons(jobs)), *legend(groups), *map(escape, notes)]
    parts = [f"# {escape(name)}", table(header, lines, numbers_from=3), *below]
    return "\n\n".join(part for part in parts if part) + "\n"


STYLES = {"finished": "", "failed": "bold red", "killed": "bold red", "not run": "yellow"}


def sweep_view(
    jobs: Sequence[SweepJob], groups: SignificanceGroups | None, notes: Sequence[str] = ()
) -> RenderableType:
    """Return a line for each job: its main metrics, the best in bold; the reason of a failure and the notes below."""
    columns = columns_of(jobs, main=True)
    best = {column: best_of(jobs, column) for column in columns}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("job", no_wrap=True)
    table.add_column("what", overflow="fold")
    for column in columns:
        table.add_column(f"{column.dataset}\n{column.task}\n{column.metric}", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for job in jobs:
        cells = []
        for column in columns:
            value = job.values.get(column)
            text = "" if value is None else f"{value.value:7.4f} {groups.of(column, job.label) if groups else ''}"
            cells.append(text_cell(text.rstrip(), style="bold" if value and value.value == best[column] else ""))
        table.add_row(
            str(job.number), text_cell(job.label), *cells, text_cell(job.status, style=STYLES.get(job.status, ""))
        )
    return Group(table, *map(text_cell, (*reasons(jobs), *legend(groups), *notes)))


COLUMNS = 3
PANEL_INCHES = 2.6
MAX_LETTERS = 12
"""Points above which letters would lie on each other."""
MAX_TICKS = 30
"""Names of jobs below a panel; of more, some are left out."""


class SweepPoint(NamedTuple):
    """One job in a panel."""

    at: float
    """Training step, or the job's place."""
    value: float
    low: float | None
    """Ends of the interval; None where there is none."""
    high: float | None
    group: str = ""
    """Letters of its significance group."""


class SweepPanel(NamedTuple):
    """One metric of one task."""

    title: str
    points: Sequence[SweepPoint]


def sweep_plot(panels: Sequence[SweepPanel], *, labels: Sequence[str] | None, name: str, alt: str) -> Plot:
    """Draw a panel for each metric, values with their intervals from left to right.

    Args:
        panels: At least one.
        labels: The jobs by their place; None where points are at training steps.
        name: File stem.
        alt: Text alternative.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)

    def draw(figure: "Figure") -> None:
        axes_of = figure.subplots(rows, columns, sharex=True, squeeze=False).flatten()
        for axes, panel in zip(axes_of, panels, strict=False):
            _draw_panel(axes, panel, labels)
        for axes in axes_of[len(panels) :]:
            axes.axis("off")
        for axes in axes_of[max(len(panels) - columns, 0) : len(panels)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("step" if labels is None else "")

    return draw_plot(name, alt, draw, height=0.5 + 1.9 * rows, width=max(WIDTH, PANEL_INCHES * columns))


def _draw_panel(axes: "Axes", panel: SweepPanel, labels: Sequence[str] | None) -> None:
    points = sorted(panel.points)
    # All intervals as one line that is broken between them: a thousand lines would take seconds.
    ends = [end for point in points for end in ((point.at, point.low), (point.at, point.high), (math.nan, math.nan))]
    lows_and_highs = [math.nan if end is None else end for _, end in ends]
    axes.plot([at for at, _ in ends], lows_and_highs, color=Colour.FIRST.value, linewidth=1.2, alpha=0.6)
    # Jobs that are no steps of one training have nothing between them.
    axes.plot(
        [point.at for point in points],
        [point.value for point in points],
        color=Colour.FIRST.value,
        marker="o",
        markersize=4,
        linewidth=1.2,
        linestyle="-" if labels is None else "none",
    )
    for point in points if len(points) <= MAX_LETTERS else ():
        top = point.value if point.high is None else point.high
        axes.annotate(
            point.group,
            (point.at, top),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            color=Colour.MUTED.value,
            fontsize=7.5,
        )
    if labels is not None:
        every = -(-len(labels) // MAX_TICKS)
        axes.set_xticks(range(0, len(labels), every), list(map(plot_label, labels[::every])), rotation=40, ha="right")
        axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_title(plot_label(panel.title), loc="left", fontsize=9)
    light_frame(axes, grid="y")


def panels_of(jobs: Sequence[SweepJob], groups: SignificanceGroups | None = None) -> list[SweepPanel]:
    """Return a panel for each main metric of the finished jobs, by step where they are steps of one training."""
    by_step = has_steps(jobs)
    return [
        SweepPanel(f"{one.dataset} {one.task}, {one.metric}", _points(jobs, one, by_step, groups))
        for one in columns_of(jobs, main=True)
    ]


def metrics_plot(jobs: Sequence[SweepJob], groups: SignificanceGroups | None = None) -> Plot | None:
    """Draw the main metrics of the finished jobs; None where there is nothing to draw."""
    panels = panels_of(jobs, groups)
    if not panels:
        return None
    by_step = has_steps(jobs)
    along = "step" if by_step else "job"
    labels = None if by_step else [job.label for job in jobs]
    return sweep_plot(
        panels, labels=labels, name=f"metrics_by_{along}", alt=f"The main metric of each task by {along}."
    )


def _points(
    jobs: Sequence[SweepJob], column: MetricKey, by_step: bool, groups: SignificanceGroups | None
) -> list[SweepPoint]:
    there = [(at, job, job.values[column]) for at, job in enumerate(jobs) if column in job.values]
    return [
        SweepPoint((job.step or 0) if by_step else at, *value, groups.of(column, job.label) if groups else "")
        for at, job, value in there
    ]


def write_sweep(
    name: str, jobs: Sequence[SweepJob], groups: SignificanceGroups | None, folder: Path, notes: Sequence[str] = ()
) -> list[Path]:
    """Write `sweep.csv`, `sweep.md` and, where there are metrics, their plot into the sweep's folder.

    Args:
        name: The sweep's.
        jobs: In their order.
        groups: None where the jobs were not compared.
        folder: The sweep's.
        notes: What has to be known of the rows that the jobs score.
    """
    files = [
        write_text_atomic(folder / "sweep.csv", sweep_csv(jobs)),
        write_text_atomic(folder / "sweep.md", sweep_markdown(name, jobs, groups, notes)),
    ]
    plot = metrics_plot(jobs, groups)
    return files if plot is None else [*files, write_png(plot, folder)]
