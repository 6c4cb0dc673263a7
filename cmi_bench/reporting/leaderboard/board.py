"""The leaderboard as records, before it takes a form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cmi_bench.evaluation.intervals import Interval
from cmi_bench.reporting.leaderboard.columns import Column, TableForm


class Kind(StrEnum):
    """Whose figures a row holds."""

    REPORTED = "reported"
    OWN = "own"


class Place(StrEnum):
    """What is marked in a column."""

    BEST = "best"
    SECOND = "second"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure."""

    text: str
    """As it is shown: percent for accuracies; empty where there is none."""
    value: float | None
    """As a fraction or correlation."""
    interval: Interval | None = None
    letters: str = ""
    """Own rows that share a letter do not differ significantly."""
    n: int | None = None
    """Rows that it is over; None for reported figures, which are over all."""
    is_comparable: bool = True
    """Whether it is over all rows that the reported figures are over; others are not ranked."""
    notes: tuple[str, ...] = ()
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """A model's figures."""

    label: str
    kind: Kind
    cells: Mapping[str, Cell]
    """By column key; a column without a figure is not in it."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardTable:
    """One of the tables, filled."""

    form: TableForm
    rows: Sequence[BoardRow]
    ceiling: str
    """The human ceiling in percent, over all of `form.ceiling` together."""

    @property
    def footnotes(self) -> list[str]:
        """The notes of rows and cells, each once, in the order in which they are met."""
        found: dict[str, None] = {}
        for row in self.rows:
            found |= dict.fromkeys(row.notes)
            for column in self.form.columns:
                if column.key in row.cells:
                    found |= dict.fromkeys(row.cells[column.key].notes)
        return list(found)

    def marks(self, notes: Sequence[str]) -> list[int]:
        """Return the numbers of footnotes, from 1."""
        footnotes = self.footnotes
        return [footnotes.index(note) + 1 for note in notes]


@dataclass(frozen=True)
class Leaderboard:
    """The paper's tables with own rows."""

    tables: Sequence[BoardTable]
    source: str
    """Where the reported figures are from."""
    ceiling_note: str
    notes: Sequence[str]
    """How own figures were made, and what was left out."""


def ranked(rows: Sequence[BoardRow], columns: Sequence[Column]) -> list[BoardRow]:
    """Mark the best and the second figure of each column, as shown: equal figures share a place.

    Figures over other rows than the reported ones take no place.
    """
    marked = [dict(row.cells) for row in rows]
    for column in columns:
        shown = {
            at: float(cells[column.key].text)
            for at, cells in enumerate(marked)
            if column.key in cells and cells[column.key].value is not None and cells[column.key].is_comparable
        }
        levels = sorted(set(shown.values()), reverse=True)
        for place, level in zip((Place.BEST, Place.SECOND), levels, strict=False):
            for at, value in shown.items():
                if value == level:
                    marked[at][column.key] = replace(marked[at][column.key], place=place)
    return [replace(row, cells=cells) for row, cells in zip(rows, marked, strict=True)]
