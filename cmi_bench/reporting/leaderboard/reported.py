"""The figures that the paper reports, kept as data in `reporting/reported/`."""

import csv
import io
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from cmi_bench.reporting.leaderboard.board import BoardRow, Cell, Kind
from cmi_bench.reporting.leaderboard.columns import Column, TableForm

FOLDER = files("cmi_bench.reporting") / "reported"


def reported_notes() -> dict[str, Any]:
    """Return `notes.json`: the source, the human ceiling, and the footnotes."""
    notes: dict[str, Any] = json.loads((FOLDER / "notes.json").read_text(encoding="utf-8"))
    return notes


def reported_rows(form: TableForm) -> list[BoardRow]:
    """Return a table's rows in the paper's order, with the footnotes on its known slips."""
    text = (FOLDER / f"{form.slug}.csv").read_text(encoding="utf-8")
    footnotes = [note for note in reported_notes()["footnotes"] if note["table"] == form.slug]
    return [_row(line, form, footnotes) for line in csv.DictReader(io.StringIO(text))]


def _row(line: Mapping[str, str], form: TableForm, footnotes: list[Mapping[str, Any]]) -> BoardRow:
    own = [note for note in footnotes if line["model"] in note["models"]]
    return BoardRow(
        label=line["model"],
        kind=Kind.REPORTED,
        cells={
            column.key: _cell(
                line[column.key], column, tuple(note["text"] for note in own if column.key in note["columns"])
            )
            for column in form.columns
            if line[column.key]
        },
        notes=tuple(note["text"] for note in own if not note["columns"]),
    )


def _cell(text: str, column: Column, notes: tuple[str, ...]) -> Cell:
    # The files leave out the zero before the point; the digits stay as reported, be they three or four.
    shown = (
        text.replace("-.", "-0.") if text.startswith("-") else text.replace(".", "0.", 1) if text[0] == "." else text
    )
    return Cell(text=shown, value=float(text) / 100 if column.is_percent else float(text), notes=notes)
