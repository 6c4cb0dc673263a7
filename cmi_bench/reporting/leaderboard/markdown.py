"""The leaderboard as Markdown."""

from collections.abc import Sequence

from cmi_bench.reporting.leaderboard.board import BoardRow, BoardTable, Cell, Kind, Leaderboard, Place
from cmi_bench.reporting.leaderboard.columns import Column
from cmi_bench.reporting.leaderboard.figures import CEILING_LABEL, NO_FIGURE, interval_in_units
from cmi_bench.reporting.markdown_text import escape, table

LEGEND = "**Bold**: best of a column; _italic_: second. ACC in percent. Own rows are marked ▸."


def leaderboard_markdown(board: Leaderboard) -> str:
    """Return the text of `leaderboard.md`."""
    parts = ["# CMI-RewardBench leaderboard", LEGEND]
    for one in board.tables:
        parts += [f"## {one.form.title}", _table(one), f"{CEILING_LABEL}: {one.ceiling} (CMI-Pref, all conditions)."]
        parts += _footnotes(one)
    parts.append("\n".join(f"- {escape(note)}" for note in (board.source, board.ceiling_note, *board.notes)))
    return "\n\n".join(parts) + "\n"


def _table(one: BoardTable) -> str:
    header = ["model", *(f"{column.heading} {column.name}" for column in one.form.columns)]
    lines = [
        [_label(row, one), *(_cell(row.cells.get(column.key), column, one) for column in one.form.columns)]
        for row in one.rows
    ]
    return table(header, lines, numbers_from=1)


def _label(row: BoardRow, one: BoardTable) -> str:
    mark = "▸ " if row.kind is Kind.OWN else ""
    return f"{mark}{escape(row.label)}{_marks(row.notes, one)}"


def _cell(cell: Cell | None, column: Column, one: BoardTable) -> str:
    if cell is None:
        return NO_FIGURE
    strong = {Place.BEST: "**", Place.SECOND: "_", None: ""}[cell.place]
    letters = f" {cell.letters}" if cell.letters else ""
    interval = interval_in_units(cell, column)
    below = f"<br>{interval}" if interval else ""
    return f"{strong}{cell.text}{strong}{letters}{_marks(cell.notes, one)}{below}"


def _marks(notes: Sequence[str], one: BoardTable) -> str:
    return f"<sup>{','.join(map(str, one.marks(notes)))}</sup>" if notes else ""


def _footnotes(one: BoardTable) -> list[str]:
    lines = [f"{number}. {escape(note)}" for number, note in enumerate(one.footnotes, start=1)]
    return ["\n".join(lines)] if lines else []
