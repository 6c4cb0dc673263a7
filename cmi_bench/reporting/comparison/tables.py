"""A comparison as CSV: each difference, the matrix, and the rows of disagreement."""

from collections.abc import Iterator, Mapping
from typing import Any

from cmi_bench.data import fields
from cmi_bench.evaluation.comparison.compare import is_significant
from cmi_bench.evaluation.comparison.records import Comparison, Contest, Difference, Disagreement
from cmi_bench.reporting.csv_text import csv_text

Line = Mapping[str, Any]

SETTINGS_COLUMNS = ("protocol", "seed", "resamples", "cluster", "confidence")
DIFFERENCE_COLUMNS = (
    *("dataset", "task", "metric", "run_a", "run_b", "n", "n_clusters", "value_a", "value_b"),
    *("difference", "ci_low", "ci_high", "test", "p", "p_holm", "significant", "p_bootstrap"),
    *("n_a_better", "n_b_better", "family_size", "alpha", *SETTINGS_COLUMNS),
)
MATRIX_COLUMNS = ("dataset", "task", "metric", "n", "run", "value", "ci_low", "ci_high", "letters")
DISAGREEMENT_COLUMNS = ("dataset", "task", "row", "answers_apart", "standpoints_apart", "label")
ROW_FIELDS = (fields.PROMPT, fields.LYRICS, fields.AUDIO_A, fields.AUDIO_B, fields.REF_AUDIO)


def differences_csv(comparison: Comparison) -> str:
    """Return the text of `comparison.csv`: a line for each two runs, task and metric."""
    settings = {name: getattr(comparison.settings, name) for name in SETTINGS_COLUMNS}
    lines = (
        {**_difference_line(contest, difference, comparison.alpha), **settings}
        for contest in comparison.contests
        for difference in contest.differences
    )
    return csv_text(DIFFERENCE_COLUMNS, lines)


def matrix_csv(comparison: Comparison) -> str:
    """Return the text of `comparison_matrix.csv`: a line for each run, with its lead over each other run."""
    runs = tuple(comparison.origins)
    lines = (line for contest in comparison.contests for line in _matrix_lines(contest))
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


def _difference_line(contest: Contest, difference: Difference, alpha: float) -> Line:
    values = {one.run: one.value for one in contest.standings}
    return {
        "dataset": contest.dataset,
        "task": contest.task,
        "metric": contest.metric,
        "run_a": difference.first,
        "run_b": difference.second,
        "n": contest.n,
        "n_clusters": contest.n_clusters,
        "value_a": values[difference.first],
        "value_b": values[difference.second],
        "difference": difference.value,
        "ci_low": difference.interval.low,
        "ci_high": difference.interval.high,
        "test": difference.test,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "significant": is_significant(difference, alpha),
        "p_bootstrap": difference.p_bootstrap,
        "n_a_better": difference.better,
        "n_b_better": difference.worse,
        "family_size": contest.family_size,
        "alpha": alpha,
    }


def _matrix_lines(contest: Contest) -> Iterator[Line]:
    runs = [one.run for one in contest.standings]
    for one in contest.standings:
        yield {
            "dataset": contest.dataset,
            "task": contest.task,
            "metric": contest.metric,
            "n": contest.n,
            "run": one.run,
            "value": one.value,
            "ci_low": None if one.interval is None else one.interval.low,
            "ci_high": None if one.interval is None else one.interval.high,
            "letters": one.letters,
            **{minus(other): contest.difference(one.run, other) for other in runs},
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
