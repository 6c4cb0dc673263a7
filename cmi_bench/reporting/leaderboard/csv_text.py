"""The leaderboard as CSV: one figure a line."""

from collections.abc import Iterator, Mapping
from typing import Any

from cmi_bench.reporting.csv_text import csv_text
from cmi_bench.reporting.leaderboard.board import BoardRow, BoardTable, Cell, Leaderboard
from cmi_bench.reporting.leaderboard.columns import Column

COLUMNS = (
    *("table", "kind", "model", "column", "dataset", "task", "metric", "group"),
    *("value", "text", "ci_low", "ci_high", "n", "comparable", "place", "letters", "notes"),
)
"""`value` is a fraction or correlation; `text` as shown in the tables, percent for accuracies."""


def leaderboard_csv(board: Leaderboard) -> str:
    """Return the text of `leaderboard.csv`, the human ceiling among its lines."""
    return csv_text(COLUMNS, (line for table in board.tables for line in _lines(table)))


def _lines(table: BoardTable) -> Iterator[Mapping[str, Any]]:
    for row in table.rows:
        for column in table.form.columns:
            if column.key in row.cells:
                yield _place(table, column) | _figure(row, row.cells[column.key])
    # Over all rows of CMI-Pref, which the alignment table shows by condition only.
    column = table.form.ceiling[0]
    yield {
        **_place(table, column),
        "kind": "human",
        "model": "Human ceiling",
        "column": "CMIPref_ACC_percent",
        "group": "",
        "value": float(table.ceiling) / 100,
        "text": table.ceiling,
        "comparable": False,
    }


def _place(table: BoardTable, column: Column) -> dict[str, Any]:
    return {
        "table": table.form.slug,
        "column": column.key,
        "dataset": column.dataset.name,
        "task": column.task,
        "metric": column.metric,
        "group": column.group_value,
    }


def _figure(row: BoardRow, cell: Cell) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "model": row.label,
        "value": cell.value,
        "text": cell.text,
        "ci_low": None if cell.interval is None else cell.interval.low,
        "ci_high": None if cell.interval is None else cell.interval.high,
        "n": cell.n,
        "comparable": cell.is_comparable,
        "place": cell.place,
        "letters": cell.letters,
        "notes": " ".join((*cell.notes, *row.notes)),
    }
