"""A comparison as Markdown, for a pull request or a notebook."""

import itertools
from collections.abc import Iterator, Sequence

from cmi_bench.data import fields
from cmi_bench.evaluation.comparison.compare import is_significant
from cmi_bench.evaluation.comparison.records import Comparison, Contest, Disagreement
from cmi_bench.reporting.comparison.wording import contest_title, how_it_was_done, is_paired, label_text
from cmi_bench.reporting.markdown_text import escape, table
from cmi_bench.reporting.number_text import interval_text, p_text, percent_name, signed

SHOWN_ROWS = 5
"""Rows of disagreement of each task; more are in the CSV file."""
PROMPT_LENGTH = 80


def comparison_markdown(comparison: Comparison) -> str:
    """Return the text of `comparison.md`."""
    parts = ["# Comparison of runs", *_notes(comparison)]
    for contest in comparison.contests:
        parts += [f"## {escape(contest_title(contest, comparison))}", _matrix(contest, comparison)]
        if contest.note:
            parts.append(escape(contest.note) + ".")
    if comparison.disagreements:
        parts.append("## Rows on which the runs disagree most")
        parts += _disagreements(comparison)
    return "\n\n".join(parts) + "\n"


def _notes(comparison: Comparison) -> list[str]:
    runs = "\n".join(f"- {escape(run)}: `{origin}`" for run, origin in comparison.origins.items())
    said = "\n".join(f"- {escape(note.strip())}" for note in (*how_it_was_done(comparison), *comparison.notes))
    legend = "- A cell is the run of its line minus the run of its column, with the corrected p; bold: significant."
    return [runs, f"{said}\n{legend}"]


def _matrix(contest: Contest, comparison: Comparison) -> str:
    compared = [one.run for one in contest.standings if one.letters]
    cells = {}
    for one in contest.differences:
        shown = f"{p_text(one.p_holm)})" if one.p_holm is not None else "no test)"
        strong = "**" if is_significant(one, comparison.alpha) else ""
        cells[one.first, one.second] = f"{strong}{signed(one.value)}{strong} ({shown}"
        cells[one.second, one.first] = f"{strong}{signed(-one.value)}{strong} ({shown}"
    header = [
        "run",
        contest.metric,
        f"{percent_name(comparison.settings.confidence)} interval",
        "group",
        *map(escape, compared),
    ]
    lines = [
        [
            escape(one.run),
            f"{one.value:.4f}" if one.value is not None else escape(one.note),
            escape(interval_text(one.interval)),
            one.letters,
            *(cells.get((one.run, other), "") for other in compared),
        ]
        for one in contest.standings
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
