"""Build the leaderboard: own runs beside the figures that the paper reports (data in `reporting/reported/`)."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import all_datasets
from cmi_bench.data.declarations import declare_rows
from cmi_bench.evaluation.comparison import compare_metrics, correct_families, paired_samples, resolution_notes
from cmi_bench.evaluation.evaluate import DetailRecord, Evaluation, Measurement, Status, evaluate
from cmi_bench.evaluation.groups import task_groups
from cmi_bench.evaluation.metrics import Shown, all_metrics, metrics_of
from cmi_bench.evaluation.pairing import MetricComparison, PairedRows, Run, pair_rows
from cmi_bench.reporting.format import percent_name
from cmi_bench.reporting.leaderboard.board import (
    BoardCell,
    BoardRow,
    BoardTable,
    Column,
    ColumnGroups,
    Leaderboard,
    RowKind,
    TableForm,
    ranked,
    table_forms,
)


def board_settings(settings: MetricSettings) -> MetricSettings:
    """Return the settings that make all metrics, and the groups that have a column in the tables, and no others."""
    shown = {
        (dataset.slug, group.group_key)
        for dataset in all_datasets()
        for task in dataset.tasks
        for group in task.leaderboard_groups
    }
    switches = (grouping.switch for dataset in all_datasets() for grouping in dataset.groupings)
    wanted: dict[str, Any] = {**dict.fromkeys(switches, False), "by_duration": False}
    for dataset in all_datasets():
        for grouping in dataset.groupings:
            wanted[grouping.switch] |= (dataset.slug, grouping.key) in shown
    wanted |= {metric.switch: True for metric in all_metrics(Shown.LEADERBOARD) if metric.switch}
    return replace(settings, **wanted)


def board_comparisons(
    paired: PairedRows, form: TableForm, settings: MetricSettings, *, alpha: float, origins: Mapping[str, str]
) -> list[MetricComparison]:
    """Compare own runs by each column of a table; all columns of a dataset with one metric are a family.

    Args:
        paired: The rows of two or more runs.
        form: The table.
        settings: From `board_settings`.
        alpha: Level of significance.
        origins: Where each run is from, for messages.
    """
    metric_comparisons: list[MetricComparison] = []
    for dataset, rows_of in paired.rows_of.items():
        groups = list(task_groups(dataset, next(iter(rows_of.values())), settings))
        for samples_of in paired_samples(dataset, rows_of, settings, origins):
            task = next(iter(samples_of.values())).task
            columns = [one for one in form.columns if one.dataset is dataset and one.task == task.name]
            metrics = metrics_of(task, Shown.SUMMARY, settings)
            if any(not column.group_key for column in columns):
                metric_comparisons += compare_metrics(samples_of, metrics, settings)
            wanted = {(column.group_key, column.group_value) for column in columns}
            for of_task, group in groups:
                if of_task == task and (group.key, group.value) in wanted:
                    metric_comparisons += compare_metrics(samples_of, metrics, settings, group=group)
    return correct_families(metric_comparisons, alpha)


def column_groups(metric_comparisons: Sequence[MetricComparison], form: TableForm) -> ColumnGroups:
    """Return the significance groups of metric comparisons, by the columns of a table."""
    by_place = {(one.dataset, one.task, one.metric, one.group): one for one in metric_comparisons}
    groups: dict[tuple[str, str], str] = {}
    for column in form.columns:
        metric_comparison = by_place.get((column.dataset.name, column.task, column.metric, column.group_value))
        for standing in metric_comparison.standings if metric_comparison is not None else ():
            groups[standing.run, column.key] = standing.significance_group
    return groups


def build_leaderboard(
    runs: Sequence[Run],
    settings: MetricSettings,
    *,
    alpha: float,
    intersect: bool = False,
    looks: Mapping[str, int] | None = None,
) -> Leaderboard:
    """Put own runs beside the reported figures.

    Args:
        runs: None, one or more.
        settings: Protocol and how intervals are made.
        alpha: Level of significance for the groups among own runs.
        intersect: Group runs over different rows on those in common.
        looks: By run, how many checkpoints of its training were scored on its test sets; see `tracking.ledger`.

    Raises:
        UserError: A label that is not understood.
    """
    looks = looks or {}
    declare_rows(raw for run in runs for raw in run.rows)
    facts, forms = reported_notes(), table_forms()
    settings = board_settings(settings)
    evaluations = {run.label: evaluate_run(run, settings) for run in runs}
    paired = pair_rows(runs, settings.split) if len(runs) > 1 and settings.resamples else None
    grouped = paired if paired is not None and paired.n_common and (intersect or not paired.counts) else None
    origins = {run.label: run.origin for run in runs}
    tables = []
    warnings: dict[str, None] = {}
    for form in forms:
        metric_comparisons = board_comparisons(grouped, form, settings, alpha=alpha, origins=origins) if grouped else []
        warnings |= dict.fromkeys(resolution_notes(metric_comparisons, settings, alpha))
        groups = column_groups(metric_comparisons, form)
        own = [own_row(run, evaluations[run.label], form, groups, looks.get(run.label)) for run in runs]
        rows = ranked([*reported_rows(form), *own], form.columns)
        tables.append(BoardTable(form, rows, facts["human_ceiling_percent"][form.slug]))
    return Leaderboard(
        tables=tables,
        source=facts["source"],
        ceiling_note=facts["human_ceiling_note"],
        notes=[
            *_how(runs, settings),
            *_rows_notes(runs),
            *_looks_note(looks),
            *_grouping(paired, grouped, alpha),
            *warnings,
        ],
    )


def _how(runs: Sequence[Run], settings: MetricSettings) -> list[str]:
    if not runs:
        return []
    intervals = (
        f", {percent_name(settings.confidence)} intervals (cluster {settings.cluster})" if settings.resamples else ""
    )
    return [f"Own rows: protocol {settings.protocol}{intervals}."]


def _rows_notes(runs: Sequence[Run]) -> list[str]:
    """Return what has to be known of runs' rows, each note once, after the runs that it is about."""
    notes = dict.fromkeys(run.note for run in runs if run.note)
    return [f"{', '.join(run.label for run in runs if run.note == note)}: {note}" for note in notes]


def _looks_note(looks: Mapping[str, int]) -> list[str]:
    """Return how often test sets were looked at: who chose among many by them reports too good a figure."""
    if not looks:
        return []
    named = ", ".join(f"{label} {count:,}" for label, count in looks.items())
    return [
        f"Looks at the test sets, over all checkpoints of a run's training: {named}. The best of many, chosen by these"
        " figures, looks better than it is."
    ]


def _grouping(paired: PairedRows | None, grouped: PairedRows | None, alpha: float) -> list[str]:
    if grouped is not None:
        meaning = (
            "Own rows that share a letter do not differ significantly in that column "
            f"(alpha = {alpha:g}; sign flips or jackknife over clusters, Holm-corrected over a column)."
        )
        return [meaning, *([f"The groups are over the {grouped.n_common} rows in common."] if grouped.counts else [])]
    if paired is None:
        return []
    why = f"{'; '.join(paired.counts)}" if paired.n_common else "no row in common"
    more = " intersect=true groups them on the rows in common." if paired.n_common else ""
    return [f"No significance groups: own runs are over different rows ({why}).{more}"]


def evaluate_run(run: Run, settings: MetricSettings) -> Evaluation:
    """Measure a run.

    Args:
        run: Its results.
        settings: From `board_settings`.
    """
    return evaluate(run.rows, settings, origin=run.origin)


def own_row(
    run: Run, evaluation: Evaluation, form: TableForm, groups: ColumnGroups, looks: int | None = None
) -> BoardRow:
    """Return a run's row in a table.

    A figure takes a place beside the reported ones where it is over as many rows as they are, and of the rows nothing
    else has to be known: those of a run with a note, such as synthetic ones, are others.
    """
    cells = {}
    for column in form.columns:
        if (record := _record(evaluation, column)) is not None and record.status is not Status.NOT_APPLICABLE:
            why_not = _why_not_comparable(record, column, run.note)
            cells[column.key] = _own_cell(record, column, groups.get((run.label, column.key), ""), why_not)
    return BoardRow(label=run.label, kind=RowKind.OWN, cells=cells, notes=(run.note,) if run.note else (), looks=looks)


def _why_not_comparable(record: Measurement, column: Column, note: str) -> str:
    if column.rows is None:
        return ""
    if record.n != column.rows:
        return f"Over {record.n} rows, not the {column.rows} of the reported figures: not ranked."
    return "Over other rows than the reported figures: not ranked." if note else ""


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


def _own_cell(record: Measurement, column: Column, significance_group: str, why_not_comparable: str) -> BoardCell:
    value = record.metrics.get(column.metric)
    notes = [why_not_comparable, f"{record.note}." if record.note else ""]
    return BoardCell(
        text=_own_text(value, column),
        value=value,
        interval=record.intervals.get(column.metric),
        significance_group=significance_group,
        n=record.n,
        is_comparable=not why_not_comparable,
        notes=tuple(note for note in notes if note),
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
        kind=RowKind.REPORTED,
        cells={
            column.key: _reported_cell(
                line[column.key], column, tuple(note["text"] for note in own if column.key in note["columns"])
            )
            for column in form.columns
            if line.get(column.key)
        },
        notes=tuple(note["text"] for note in own if not note["columns"]),
    )


def _reported_cell(text: str, column: Column, notes: tuple[str, ...]) -> BoardCell:
    # The files leave out the zero before the point; the digits stay as reported, be they three or four.
    shown = (
        text.replace("-.", "-0.") if text.startswith("-") else text.replace(".", "0.", 1) if text[0] == "." else text
    )
    return BoardCell(text=shown, value=float(text) / 100 if column.is_percent else float(text), notes=notes)
