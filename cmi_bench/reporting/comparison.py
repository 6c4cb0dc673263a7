"""A comparison of runs as CSV, JSON, Markdown and for a terminal."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from cmi_bench.config import Clustering
from cmi_bench.data import fields
from cmi_bench.data.datasets import PairTask, all_datasets
from cmi_bench.evaluation.clusters import PROMPTS, PROMPTS_AND_SYSTEMS, ROWS, SYSTEMS
from cmi_bench.evaluation.comparison import is_significant
from cmi_bench.evaluation.pairing import Comparison, Difference, Disagreement, MetricComparison
from cmi_bench.reporting.format import (
    bounds_text,
    csv_text,
    escape,
    interval_cells,
    interval_text,
    p_text,
    percent_name,
    signed,
    table,
    text_cell,
    write_files,
)
from cmi_bench.utils.files import json_text


def comparison_json(comparison: Comparison) -> str:
    """Return the text of `comparison.json`: all that the tables hold, and the settings."""
    document = {
        "runs": dict(comparison.origins),
        "alpha": comparison.alpha,
        "settings": asdict(comparison.settings),
        "metric_comparisons": [asdict(metric_comparison) for metric_comparison in comparison.metric_comparisons],
        "disagreements": [_disagreement(row) for row in comparison.disagreements],
        "notes": list(comparison.notes),
    }
    return json_text(document)


def _disagreement(row: Disagreement) -> dict[str, Any]:
    """Leave out the row itself, which is in disagreements.csv and in the results files."""
    return {
        **{name: getattr(row, name) for name in ("dataset", "task", "row", "label", "answers", "spread")},
        # JSON knows no infinity, which the paper protocol takes for a score.
        "predictions": {run: value if math.isfinite(value) else None for run, value in row.predictions.items()},
    }


Line = Mapping[str, Any]

SETTINGS_COLUMNS = ("protocol", "seed", "resamples", "cluster", "confidence")
DIFFERENCE_COLUMNS = (
    *("dataset", "task", "metric", "run_a", "run_b", "n", "n_clusters", "value_a", "value_b"),
    *("difference", "ci_low", "ci_high", "test", "p", "p_holm", "significant", "p_mcnemar"),
    *("n_a_better", "n_b_better", "family_size", "alpha", *SETTINGS_COLUMNS),
)
MATRIX_COLUMNS = ("dataset", "task", "metric", "n", "run", "value", "ci_low", "ci_high", "significance_group")
DISAGREEMENT_COLUMNS = ("dataset", "task", "row", "answers_apart", "standpoints_apart", "label")
ROW_FIELDS = (fields.PROMPT, fields.LYRICS, fields.AUDIO_A, fields.AUDIO_B, fields.REF_AUDIO)


def differences_csv(comparison: Comparison) -> str:
    """Return the text of `comparison.csv`: a line for each two runs, task and metric."""
    settings = {name: getattr(comparison.settings, name) for name in SETTINGS_COLUMNS}
    lines = (
        {**_difference_line(metric_comparison, difference, comparison.alpha), **settings}
        for metric_comparison in comparison.metric_comparisons
        for difference in metric_comparison.differences
    )
    return csv_text(DIFFERENCE_COLUMNS, lines)


def matrix_csv(comparison: Comparison) -> str:
    """Return the text of `comparison_matrix.csv`: a line for each run, with its lead over each other run."""
    runs = tuple(comparison.origins)
    lines = (line for metric_comparison in comparison.metric_comparisons for line in _matrix_lines(metric_comparison))
    return csv_text((*MATRIX_COLUMNS, *map(minus, runs)), lines)


def disagreements_csv(comparison: Comparison) -> str:
    """Return the text of `disagreements.csv`: the rows on which the runs disagree most, by task."""
    runs = tuple(comparison.origins)
    columns = (*DISAGREEMENT_COLUMNS, *map(predicted, runs), *ROW_FIELDS)
    return csv_text(columns, (_disagreement_line(row) for row in comparison.disagreements))


def minus(run: str) -> str:
    """Return the matrix's column of a run."""
    return f"minus {run}"


def predicted(run: str) -> str:
    """Return the column of a run's predictions."""
    return f"predicted by {run}"


def _difference_line(metric_comparison: MetricComparison, difference: Difference, alpha: float) -> Line:
    values = {one.run: one.value for one in metric_comparison.standings}
    return {
        "dataset": metric_comparison.dataset,
        "task": metric_comparison.task,
        "metric": metric_comparison.metric,
        "run_a": difference.first,
        "run_b": difference.second,
        "n": metric_comparison.n,
        "n_clusters": metric_comparison.n_clusters,
        "value_a": values[difference.first],
        "value_b": values[difference.second],
        "difference": difference.value,
        **interval_cells(difference.interval),
        "test": difference.test,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "significant": is_significant(difference, alpha),
        "p_mcnemar": difference.p_mcnemar,
        "n_a_better": difference.better,
        "n_b_better": difference.worse,
        "family_size": metric_comparison.family_size,
        "alpha": alpha,
    }


def _matrix_lines(metric_comparison: MetricComparison) -> Iterator[Line]:
    runs = [one.run for one in metric_comparison.standings]
    for one in metric_comparison.standings:
        yield {
            "dataset": metric_comparison.dataset,
            "task": metric_comparison.task,
            "metric": metric_comparison.metric,
            "n": metric_comparison.n,
            "run": one.run,
            "value": one.value,
            **interval_cells(one.interval),
            "significance_group": one.significance_group,
            **{minus(other): metric_comparison.difference(one.run, other) for other in runs},
        }


def _disagreement_line(row: Disagreement) -> Line:
    return {
        "dataset": row.dataset,
        "task": row.task,
        "row": row.row,
        "answers_apart": row.answers,
        "standpoints_apart": row.spread,
        "label": row.label,
        **{predicted(run): value for run, value in row.predictions.items()},
        **{name: row.raw.get(name) for name in ROW_FIELDS},
    }


SIDES = {1.0: "A", 0.0: "both", -1.0: "B"}


def comparison_title(one: MetricComparison) -> str:
    """Return e.g. "CMI-Pref alignment: ACC over 500 rows of 350 prompts"."""
    clusters = "" if one.unit == ROWS else f" of {one.n_clusters} {one.unit}"
    return f"{one.dataset} {one.task}: {one.metric} over {one.n} rows{clusters}"


UNITS = {
    Clustering.prompt: PROMPTS,
    Clustering.system: SYSTEMS,
    Clustering.both: PROMPTS_AND_SYSTEMS,
    Clustering.none: ROWS,
}


def how_it_was_done(comparison: Comparison) -> list[str]:
    """Say what the columns mean and how the tests were made."""
    settings = comparison.settings
    unit = UNITS[settings.cluster]
    is_one_way = settings.cluster in {Clustering.prompt, Clustering.none}
    sign_flips = f"exact test on sign flips of {unit}" if is_one_way else f"t over {unit}"
    level = percent_name(settings.confidence)
    return [
        f"Runs that share a letter do not differ significantly (alpha = {comparison.alpha:g}): where all are equally "
        f"good, at most {percent_name(comparison.alpha)} of the tables tell any two of them apart.",
        f"p: {sign_flips} for ACC, jackknife over {unit} with t for correlations; corrected by Holm's method over all "
        "pairs of runs of a table. No p: too little to tell by.",
        f"Intervals ({level}, not corrected) are over {unit} as well. Protocol {settings.protocol}.",
    ]


def label_text(row: Disagreement) -> str:
    """Return the label of a row as text."""
    return SIDES[row.label] if is_paired(row) else f"{row.label:g}"


def is_paired(row: Disagreement) -> bool:
    """Whether a row compares two clips."""
    tasks = {(dataset.name, task.name): task for dataset in all_datasets() for task in dataset.tasks}
    return isinstance(tasks[row.dataset, row.task], PairTask)


SHOWN_ROWS = 5
"""Rows of disagreement of each task; more are in the CSV file."""
PROMPT_LENGTH = 80


def comparison_markdown(comparison: Comparison) -> str:
    """Return the text of `comparison.md`."""
    parts = ["# Comparison of runs", *_notes(comparison)]
    for metric_comparison in comparison.metric_comparisons:
        parts += [
            f"## {escape(comparison_title(metric_comparison))}",
            _matrix(metric_comparison, comparison),
        ]
        if metric_comparison.note:
            parts.append(escape(metric_comparison.note) + ".")
    if comparison.disagreements:
        parts.append("## Rows on which the runs disagree most")
        parts += _disagreements(comparison)
    return "\n\n".join(parts) + "\n"


def _notes(comparison: Comparison) -> list[str]:
    runs = "\n".join(f"- {escape(run)}: {escape(origin)}" for run, origin in comparison.origins.items())
    notes = "\n".join(f"- {escape(note.strip())}" for note in (*how_it_was_done(comparison), *comparison.notes))
    legend = "- A cell is the run of its line minus the run of its column, with the corrected p; bold: significant."
    return [runs, f"{notes}\n{legend}"]


def _matrix(metric_comparison: MetricComparison, comparison: Comparison) -> str:
    compared = [one.run for one in metric_comparison.standings if one.significance_group]
    cells = {}
    for one in metric_comparison.differences:
        shown = f"{p_text(one.p_holm)})" if one.p_holm is not None else "no test)"
        strong = "**" if is_significant(one, comparison.alpha) else ""
        cells[one.first, one.second] = f"{strong}{signed(one.value)}{strong} ({shown}"
        cells[one.second, one.first] = f"{strong}{signed(-one.value)}{strong} ({shown}"
    header = [
        "run",
        metric_comparison.metric,
        f"{percent_name(comparison.settings.confidence)} interval",
        "group",
        *map(escape, compared),
    ]
    lines = [
        [
            escape(one.run),
            f"{one.value:.4f}" if one.value is not None else escape(one.note),
            escape(interval_text(one.interval)),
            one.significance_group,
            *(cells.get((one.run, other), "") for other in compared),
        ]
        for one in metric_comparison.standings
    ]
    return table(header, lines, numbers_from=4)


def _disagreements(comparison: Comparison) -> Iterator[str]:
    by_task = itertools.groupby(comparison.disagreements, key=lambda row: (row.dataset, row.task))
    for (dataset, task), rows in by_task:
        yield f"### {dataset} {task}"
        yield _rows_table(list(itertools.islice(rows, SHOWN_ROWS)), list(comparison.origins))


def _rows_table(rows: Sequence[Disagreement], runs: Sequence[str]) -> str:
    kind = "score of A minus B" if is_paired(rows[0]) else "score"
    header = ["row", "people", *(f"{escape(run)}: {kind}" for run in runs), "prompt", "audio"]
    lines = [
        [
            str(row.row),
            label_text(row),
            *(f"{row.predictions[run]:.3g}" if run in row.predictions else "" for run in runs),
            escape(_short(str(row.raw.get(fields.PROMPT) or ""))),
            escape(", ".join(str(row.raw[name]) for name in (fields.AUDIO_A, fields.AUDIO_B) if row.raw.get(name))),
        ]
        for row in rows
    ]
    return table(header, lines)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= PROMPT_LENGTH else f"{words[: PROMPT_LENGTH - 1]}…"


def comparison_view(comparison: Comparison) -> RenderableType:
    """Return one table a task, by its first metric, each run beside the best; readable at 80 columns."""
    parts: list[RenderableType] = []
    seen: set[tuple[str, str]] = set()
    for metric_comparison in comparison.metric_comparisons:
        if (metric_comparison.dataset, metric_comparison.task) not in seen:
            seen.add((metric_comparison.dataset, metric_comparison.task))
            parts += [
                text_cell(comparison_title(metric_comparison), style="bold"),
                _table(metric_comparison, comparison),
            ]
            parts += [text_cell(f"{metric_comparison.note}.\n")] if metric_comparison.note else []
    notes = (*how_it_was_done(comparison), *comparison.notes)
    return Group(*parts, *(text_cell(note) for note in notes))


def _table(metric_comparison: MetricComparison, comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column(metric_comparison.metric, justify="right", no_wrap=True)
    table.add_column(f"{percent_name(comparison.settings.confidence)} interval", no_wrap=True)
    table.add_column("group", no_wrap=True)
    table.add_column("minus the best", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    for cells in _lines(metric_comparison):
        table.add_row(*map(text_cell, cells))
    return table


def _lines(metric_comparison: MetricComparison) -> Iterator[list[str]]:
    for one in metric_comparison.standings:
        value = f"{one.value:.4f}" if one.value is not None else "undef."
        cells = [one.run, value, interval_text(one.interval), one.significance_group]
        behind = behind_best(metric_comparison, one.run)
        yield [*cells, *(["", ""] if behind is None else [_behind_text(behind), p_text(behind.p)])]


class Behind(NamedTuple):
    """How far a run is from the best."""

    value: float
    """Its metric minus the best's."""
    low: float | None
    """Ends of the interval of that, not corrected; None where there is none."""
    high: float | None
    p: float | None
    """Corrected; None where there is too little to tell by."""


def behind_best(metric_comparison: MetricComparison, run: str) -> Behind | None:
    """Return how far a run is from the best; None for the best itself, and where they were not compared."""
    best = metric_comparison.standings[0].run
    found = next((one for one in metric_comparison.differences if {one.first, one.second} == {best, run}), None)
    if found is None:
        return None
    sign = -1 if found.first == best else 1
    low, high = found.interval.low, found.interval.high
    if low is not None and high is not None:
        low, high = sorted((sign * low, sign * high))
    return Behind(sign * found.value, low, high, found.p_holm)


def _behind_text(behind: Behind) -> str:
    if behind.low is None or behind.high is None:
        return signed(behind.value)
    return f"{signed(behind.value)} {bounds_text(behind.low, behind.high)}"


FILES = {
    "comparison.csv": differences_csv,
    "comparison_matrix.csv": matrix_csv,
    "disagreements.csv": disagreements_csv,
    "comparison.md": comparison_markdown,
    "comparison.json": comparison_json,
}
"""By name: what makes its text of a comparison."""


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the comparison's files into a folder, which is made if missing."""
    return write_files(comparison, FILES, folder)
