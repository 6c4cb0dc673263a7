"""The rows of the leaderboard: own runs, and the figures that the paper reports (data in `reporting/reported/`)."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import DetailRecord, Evaluation, Measurement, Status, evaluate
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.leaderboard.board import BoardRow, Cell, Column, ColumnGroups, Kind, TableForm


def evaluate_run(run: Run, settings: MetricSettings) -> Evaluation:
    """Measure a run.

    Args:
        run: Its results.
        settings: From `board_settings`.
    """
    return evaluate(run.rows, settings, origin=run.origin)


def own_row(label: str, evaluation: Evaluation, form: TableForm, groups: ColumnGroups) -> BoardRow:
    """Return a run's row in a table."""
    cells = {}
    for column in form.columns:
        if (record := _record(evaluation, column)) is not None and record.status is not Status.NOT_APPLICABLE:
            cells[column.key] = _own_cell(record, column, groups.get((label, column.key), ""))
    return BoardRow(label=label, kind=Kind.OWN, cells=cells)


def _record(evaluation: Evaluation, column: Column) -> Measurement | None:
    records: Sequence[Measurement] = evaluation.detail if column.group_key else evaluation.summary
    return next(
        (
            record
            for record in records
            if (record.dataset, record.task) == (column.dataset.name, column.task)
            and (
                not isinstance(record, DetailRecord)
                or (record.group_key, record.group_value) == (column.group_key, column.group_value)
            )
        ),
        None,
    )


def _own_cell(record: Measurement, column: Column, significance_group: str) -> Cell:
    value = record.metrics.get(column.metric)
    notes = []
    is_comparable = column.rows in (None, record.n)
    if not is_comparable:
        notes.append(f"Over {record.n} rows, not the {column.rows} of the reported figures: not ranked.")
    if record.note:
        notes.append(f"{record.note}.")
    return Cell(
        text=_own_text(value, column),
        value=value,
        interval=record.intervals.get(column.metric),
        significance_group=significance_group,
        n=record.n,
        is_comparable=is_comparable,
        notes=tuple(notes),
    )


def _own_text(value: float | None, column: Column) -> str:
    if value is None:
        return "undef."
    return f"{value * 100:.2f}" if column.is_percent else f"{value:.4f}"


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
            column.key: _reported_cell(
                line[column.key], column, tuple(note["text"] for note in own if column.key in note["columns"])
            )
            for column in form.columns
            if line.get(column.key)
        },
        notes=tuple(note["text"] for note in own if not note["columns"]),
    )


def _reported_cell(text: str, column: Column, notes: tuple[str, ...]) -> Cell:
    # The files leave out the zero before the point; the digits stay as reported, be they three or four.
    shown = (
        text.replace("-.", "-0.") if text.startswith("-") else text.replace(".", "0.", 1) if text[0] == "." else text
    )
    return Cell(text=shown, value=float(text) / 100 if column.is_percent else float(text), notes=notes)
