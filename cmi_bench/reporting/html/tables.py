"""The result tables of the page."""

from collections.abc import Sequence
from typing import NamedTuple

from cmi_bench.evaluation.metrics import ACC, K_TAU, LCC, SRCC
from cmi_bench.evaluation.records import DetailRecord, Measurement, SummaryRecord
from cmi_bench.reporting.html.group_names import key_name, value_name
from cmi_bench.reporting.html.wording import interval_text, metric_text

METRICS = (SRCC, LCC, K_TAU, ACC)
COUNTS = {
    "n_failed": "failed",
    "n_unlabelled": "no label",
    "n_tied_prediction": "predicted ties",
    "n_tied_label": "label ties",
}
"""Attributes of a record, and their columns."""


class Cell(NamedTuple):
    """One place of a table."""

    text: str
    kind: str = "number"
    """"head" (names the row), "text" or "number"."""
    below: str = ""
    """Smaller, on a line of its own: the interval."""


class Table(NamedTuple):
    """A table for the page."""

    caption: str
    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


def summary_table(records: Sequence[SummaryRecord]) -> Table:
    """Return the table of all tasks."""
    return _table("All tasks", ("dataset", "task"), records, [(one.dataset, one.task) for one in records])


def detail_table(records: Sequence[DetailRecord]) -> Table:
    """Return the table of all groups."""
    names = [(one.dataset, one.task, key_name(one), value_name(one)) for one in records]
    return _table("All groups", ("dataset", "task", "group by", "group"), records, names)


def _table(
    caption: str, naming: Sequence[str], records: Sequence[Measurement], names: Sequence[Sequence[str]]
) -> Table:
    metrics = [name for name in METRICS if any(name in record.metrics for record in records)]
    counts = [name for name in COUNTS if any(getattr(record, name) for record in records)]
    notes = any(record.note for record in records)
    columns = [
        *(Cell(name, "text") for name in naming),
        *map(Cell, ("n", *metrics, *(COUNTS[name] for name in counts))),
        *([Cell("note", "text")] if notes else []),
    ]
    rows = [
        [
            *(Cell(name, "head" if place < 2 else "text") for place, name in enumerate(named)),
            Cell(f"{record.n:,}"),
            *(_metric(record, name) for name in metrics),
            *(_count(getattr(record, name)) for name in counts),
            *([Cell(record.note, "text")] if notes else []),
        ]
        for record, named in zip(records, names, strict=True)
    ]
    return Table(caption, columns, rows)


def _metric(record: Measurement, name: str) -> Cell:
    return Cell(metric_text(record, name), below=interval_text(record.intervals.get(name)))


def _count(value: int | None) -> Cell:
    return Cell("" if value is None else f"{value:,}")
