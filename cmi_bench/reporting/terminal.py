"""Tables for people in a terminal or a text file: the summary of an evaluation, and scores of single songs."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.config import ProtocolName
from cmi_bench.evaluation.evaluate import Evaluation, Status, SummaryRecord
from cmi_bench.evaluation.metrics import all_metrics, metric_by_name
from cmi_bench.reporting.format import interval_notes, interval_text, percent_name, text_cell
from cmi_bench.reporting.raters import rater_notes
from cmi_bench.reporting.uncertainty import uncertainty_notes
from cmi_bench.types import Aspect, Score
from cmi_bench.utils.console import PLAIN_WIDTH, plain_text

NO_VALUE = {Status.OK: "", Status.UNDEFINED: "undef.", Status.NOT_APPLICABLE: "n/a"}
"""What stands in a cell for a metric that the task has and that has no value."""


def summary_view(evaluation: Evaluation, title: str = "") -> RenderableType:
    """Return the summary table with its notes below, readable at 80 columns.

    Args:
        evaluation: What was measured.
        title: E.g. the model's name.
    """
    parts: list[RenderableType] = [text_cell(title, style="bold")] if title else []
    if evaluation.summary:
        parts.append(_table(evaluation))
    return Group(*parts, *(text_cell(line) for line in _notes(evaluation)))


def summary_text(evaluation: Evaluation, title: str = "", *, width: int = PLAIN_WIDTH) -> str:
    """Return the summary as plain text of at most `width` columns."""
    return plain_text(summary_view(evaluation, title), width=width)


def _table(evaluation: Evaluation) -> Table:
    """One line a metric: beside its interval, four of them would not fit into 80 columns."""
    failures = any(record.n_failed for record in evaluation.summary)
    intervals = any(record.intervals for record in evaluation.summary)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("dataset", "task"):
        table.add_column(name, no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    if intervals:
        table.add_column(f"{percent_name(evaluation.settings.confidence)} interval", no_wrap=True)
    if failures:
        table.add_column("failed", justify="right", no_wrap=True)
    for record in evaluation.summary:
        for cells in _lines(record, intervals=intervals, failures=failures):
            table.add_row(*cells)
    return table


def _lines(record: SummaryRecord, *, intervals: bool, failures: bool) -> Iterator[list[Text]]:
    names = [metric.name for metric in all_metrics() if metric.name in record.metrics]
    for number, name in enumerate(names):
        # What the lines of a task have in common stands in the first of them.
        place = ["", "", _systems(record, name, names)] if number else [record.dataset, record.task, str(record.n)]
        value = record.metrics[name]
        shown = NO_VALUE[record.status] if value is None else f"{value:.4f}"
        cells = [text_cell(text) for text in (*place, name, shown)]
        if intervals:
            cells.append(text_cell(interval_text(record.intervals.get(name)), style="dim"))
        if failures:
            style = "bold red" if record.n_failed else "dim"
            cells.append(text_cell(str(record.n_failed) if number == 0 else "", style=style))
        yield cells


def _systems(record: SummaryRecord, name: str, names: Sequence[str]) -> str:
    """Return how many systems there are, in the first line about their means."""
    first = next((one for one in names if metric_by_name(one).is_of_systems), None)
    interval = record.intervals.get(name)
    return str(interval.n_clusters) if name == first and interval is not None else ""


def _notes(evaluation: Evaluation) -> list[str]:
    """What the numbers do not say by themselves."""
    tasks_of: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for record in evaluation.summary:
        if remarks := _remarks(record):
            tasks_of[record.dataset, "; ".join(remarks)].append(record.task)
    own = [f"{dataset} {', '.join(tasks)}: {remarks}." for (dataset, remarks), tasks in tasks_of.items()]
    # The default goes without saying; the other protocol's numbers must not be taken for its.
    protocol = (
        ["Protocol paper: ties count as B; rows without label or prediction are dropped."]
        if evaluation.settings.protocol == ProtocolName.paper
        else []
    )
    return [
        *own,
        *rater_notes(evaluation.raters),
        *uncertainty_notes(evaluation.uncertainty),
        *evaluation.notes,
        *protocol,
        *_interval_note(evaluation),
    ]


def _interval_note(evaluation: Evaluation) -> list[str]:
    return interval_notes((record.dataset, record.intervals) for record in evaluation.summary)


def _remarks(record: SummaryRecord) -> list[str]:
    remarks = [record.note] if record.note else []
    if record.n_unlabelled:
        remarks.append(f"{record.n_unlabelled} without a label, not evaluated")
    if record.n_tied_prediction:
        remarks.append(f"predicted ties: {record.n_tied_prediction}")
    names_of: dict[str, list[str]] = {}
    for name, interval in record.intervals.items():
        if interval.reason:
            names_of.setdefault(interval.reason, []).append(name)
        if interval.is_flat:
            remarks.append(f"{name} is the same in every resample")
    return [*remarks, *(f"no interval of {', '.join(names)}: {reason}" for reason, names in names_of.items())]


NUMBERS_WIDTH = 60
"""Columns that the table takes besides the names."""
SPREADS_WIDTH = 24
"""Columns that the spreads of an ensemble take."""


@dataclass(frozen=True)
class SongLine:
    """What the table says of a song."""

    name: str
    score: Score
    rank: int | None = None
    """In a ranking; None outside of one, or where the song failed."""
    mean: float | None = None
    """Where that is what the songs are ranked by."""
    mean_spread: float = math.nan
    """Of that mean over the members of an ensemble; NaN of other models."""


def songs_view(lines: Sequence[SongLine], title: str = "", note: str = "") -> RenderableType:
    """Return the table, and below it a note and why songs could not be scored."""
    ranked = any(line.rank is not None for line in lines)
    with_mean = any(line.mean is not None for line in lines)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if ranked:
        table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("song", overflow="fold")
    for name in (*(["mean"] if with_mean else []), "musicality", "alignment"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        cells = [text_cell("" if line.rank is None else str(line.rank))] if ranked else []
        means = [_number(line.mean, line.mean_spread, line)] if with_mean else []
        both = (
            _number(line.score.value(one), line.score.spread(one), line)
            for one in (Aspect.MUSICALITY, Aspect.ALIGNMENT)
        )
        table.add_row(*cells, text_cell(line.name), *means, *both)
    below = [note] if note else []
    if members := max((len(line.score.members) for line in lines), default=0):
        below.append(f"\N{PLUS-MINUS SIGN} is the standard deviation over the ensemble's {members} members.")
    errors = ((line.name, line.score.error) for line in lines if line.score.error)
    below += [error if name in error else f"{name}: {error}" for name, error in errors]
    return Group(*([text_cell(title, style="bold")] if title else []), table, *map(text_cell, below))


def table_width(lines: Sequence[SongLine]) -> int:
    """Return how wide the table is when no name is folded, as in a file, where others look for whole lines."""
    spreads = SPREADS_WIDTH if any(line.score.members for line in lines) else 0
    return NUMBERS_WIDTH + spreads + max((len(line.name) for line in lines), default=0)


def _number(value: float | None, spread: float, line: SongLine) -> Text:
    if line.score.error:
        return text_cell("failed", style="bold red")
    if value is None or math.isnan(value):
        return text_cell("n/a", style="dim")
    return text_cell(f"{value:.4f}" + ("" if math.isnan(spread) else f" \N{PLUS-MINUS SIGN}{spread:.4f}"))
