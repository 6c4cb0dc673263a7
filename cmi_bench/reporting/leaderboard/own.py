"""Own runs as rows of the leaderboard."""

from collections.abc import Sequence

from cmi_bench.evaluation.comparison.pairing import Run
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.records import DetailRecord, Evaluation, Measurement, Status
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.reporting.leaderboard.board import BoardRow, Cell, Kind
from cmi_bench.reporting.leaderboard.columns import Column, TableForm
from cmi_bench.reporting.leaderboard.grouping import Letters


def evaluate_run(run: Run, settings: MetricSettings) -> Evaluation:
    """Measure a run.

    Args:
        run: Its results.
        settings: From `board_settings`.
    """
    return evaluate(run.rows, settings, origin=run.origin)


def own_row(label: str, evaluation: Evaluation, form: TableForm, letters: Letters) -> BoardRow:
    """Return a run's row in a table."""
    cells = {}
    for column in form.columns:
        if (record := _record(evaluation, column)) is not None and record.status is not Status.NOT_APPLICABLE:
            cells[column.key] = _cell(record, column, letters.get((label, column.key), ""))
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


def _cell(record: Measurement, column: Column, letters: str) -> Cell:
    value = record.metrics[column.metric]
    notes = []
    if record.n != column.rows:
        notes.append(f"Over {record.n} rows, not the {column.rows} of the reported figures: not ranked.")
    if record.note:
        notes.append(f"{record.note}.")
    return Cell(
        text=_text(value, column),
        value=value,
        interval=record.intervals.get(column.metric),
        letters=letters,
        n=record.n,
        is_comparable=record.n == column.rows,
        notes=tuple(notes),
    )


def _text(value: float | None, column: Column) -> str:
    if value is None:
        return "undef."
    return f"{value * 100:.2f}" if column.is_percent else f"{value:.4f}"
