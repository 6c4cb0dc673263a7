"""What all forms of the leaderboard show alike."""

import itertools
from typing import NamedTuple

from cmi_bench.reporting.leaderboard.board import Cell
from cmi_bench.reporting.leaderboard.columns import Column, TableForm
from cmi_bench.reporting.number_text import bounds_text

NO_FIGURE = "-"
CEILING_LABEL = "Human ceiling"


class Heading(NamedTuple):
    """A dataset's name over its columns."""

    name: str
    span: int


def headings(form: TableForm) -> list[Heading]:
    """Return the upper line of a table's header."""
    groups = itertools.groupby(form.columns, key=lambda column: column.heading)
    return [Heading(name, len(list(columns))) for name, columns in groups]


def before_ceiling(form: TableForm) -> int:
    """Return how many columns are left of those that the human ceiling is over; none are right of them."""
    return len(form.columns) - len(form.ceiling)


def interval_in_units(cell: Cell, column: Column) -> str:
    """Return a figure's interval in the unit of its column, e.g. "[.641, .722]" or "[74.1, 81.6]"."""
    interval = cell.interval
    if interval is None or interval.low is None or interval.high is None:
        return ""
    if column.is_percent:
        return f"[{interval.low * 100:.1f}, {interval.high * 100:.1f}]"
    return bounds_text(interval.low, interval.high)
