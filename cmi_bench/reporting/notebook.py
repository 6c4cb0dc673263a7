"""Results as tables of HTML that a notebook shows: escaped, with the page's own colours, and nothing to load."""

from collections.abc import Iterator, Sequence
from html import escape

from cmi_bench.evaluation.evaluate import Evaluation, SummaryRecord
from cmi_bench.evaluation.metrics import all_metrics
from cmi_bench.evaluation.pairing import Comparison, MetricComparison
from cmi_bench.reporting.format import interval_notes, interval_text, one_line, percent_name
from cmi_bench.reporting.terminal import NO_VALUE

Row = Sequence[str]

LEFT, RIGHT = "left", "right"
CELL = "padding:0.15em 0.7em;border:0;background:transparent"
NOTE = "font-size:smaller;opacity:0.75;margin:0.2em 0"


def evaluation_html(evaluation: Evaluation, title: str) -> str:
    """Return the summary of an evaluation as a table, a line for each metric, with its notes below."""
    has_intervals = any(record.intervals for record in evaluation.summary)
    columns = {"dataset": LEFT, "task": LEFT, "n": RIGHT, "metric": LEFT, "value": RIGHT}
    if has_intervals:
        columns[f"{percent_name(evaluation.settings.confidence)} interval"] = LEFT
    rows = [row[: len(columns)] for record in evaluation.summary for row in _metric_rows(record)]
    remarks = [f"{record.place}: {record.note}." for record in evaluation.summary if record.note]
    intervals = interval_notes((record.dataset, record.intervals) for record in evaluation.summary)
    return _document(title, columns, rows, [*remarks, *evaluation.notes, *intervals])


def _metric_rows(record: SummaryRecord) -> Iterator[Row]:
    names = [metric.name for metric in all_metrics() if metric.name in record.metrics]
    for number, name in enumerate(names):
        # What the lines of a task have in common stands in the first of them.
        place = ("", "", "") if number else (record.dataset, record.task, str(record.n))
        value = record.metrics[name]
        shown = NO_VALUE[record.status] if value is None else f"{value:.4f}"
        yield (*place, name, shown, interval_text(record.intervals.get(name)))


def comparison_html(comparison: Comparison, title: str) -> str:
    """Return a comparison as a table: a column for each run, with the letters of the significance groups."""
    columns = {"dataset": LEFT, "task": LEFT, "metric": LEFT, "n": RIGHT} | dict.fromkeys(comparison.origins, RIGHT)
    rows = [_standing_row(one, list(comparison.origins)) for one in comparison.metric_comparisons]
    letters = f"Runs of a line that share a letter do not differ significantly (level {comparison.alpha:g})."
    return _document(title, columns, rows, [letters, *comparison.notes])


def _standing_row(one: MetricComparison, runs: Sequence[str]) -> Row:
    cells = {
        standing.run: "undef." if standing.value is None else f"{standing.value:.4f} {standing.significance_group}"
        for standing in one.standings
    }
    return (one.dataset, one.task, one.metric, str(one.n), *(cells.get(run, "n/a") for run in runs))


def _document(title: str, columns: dict[str, str], rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Return a title, a table and notes; all of them are text, and escaped here."""
    sides = list(columns.values())
    head = "".join(_cell("th", text, side) for text, side in columns.items())
    body = "".join(
        f"<tr>{''.join(_cell('td', text, side) for text, side in zip(row, sides, strict=True))}</tr>" for row in rows
    )
    below = "".join(f'<p style="{NOTE}">{_text(note)}</p>' for note in notes)
    table = (
        f'<table style="border-collapse:collapse;margin:0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )
    return f"<div><p><strong>{_text(title)}</strong></p>{table}{below}</div>"


def _cell(tag: str, text: str, side: str) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    return f'<{tag}{scope} style="text-align:{side};{CELL}">{_text(text)}</{tag}>'


def _text(text: str) -> str:
    return escape(one_line(text))
