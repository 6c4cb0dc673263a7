"""The leaderboard as CSV, HTML, LaTeX (booktabs tables to be read in with `\\input`), Markdown and for a terminal."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.reporting.format import (
    bare,
    bounds_text,
    csv_text,
    escape,
    interval_cells,
    one_line,
    table,
    text_cell,
    write_files,
)
from cmi_bench.reporting.html.format import own_files, template_environment
from cmi_bench.reporting.leaderboard.board import (
    BoardCell,
    BoardRow,
    BoardTable,
    Column,
    Leaderboard,
    Rank,
    RowKind,
    TableForm,
)

COLUMNS = (
    *("table", "kind", "model", "column", "dataset", "task", "metric", "group"),
    *("value", "text", "ci_low", "ci_high", "n", "comparable", "place", "significance_group", "notes"),
    "looks",
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
        "model": CEILING_LABEL,
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


def _figure(row: BoardRow, cell: BoardCell) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "model": row.label,
        "value": cell.value,
        "text": cell.text,
        **interval_cells(cell.interval),
        "n": cell.n,
        "comparable": cell.is_comparable,
        "place": cell.rank,
        "significance_group": cell.significance_group,
        "notes": " ".join((*cell.notes, *row.notes)),
        "looks": row.looks,
    }


NO_FIGURE = "-"
CEILING_LABEL = "Human ceiling"


class Heading(NamedTuple):
    """A dataset's name over its columns."""

    name: str
    span: int


def headings(form: TableForm) -> list[Heading]:
    """Return the upper line of a table's header."""
    groups = itertools.groupby(form.columns, key=lambda column: column.heading)
    return [Heading(name, len(list(columns))) for name, columns in groups]


def before_ceiling(form: TableForm) -> int:
    """Return how many columns are left of those that the human ceiling is over; none are right of them."""
    return len(form.columns) - len(form.ceiling)


def interval_in_units(cell: BoardCell, column: Column) -> str:
    """Return a figure's interval in the unit of its column, e.g. "[.641, .722]" or "[74.1, 81.6]"."""
    interval = cell.interval
    if interval is None or interval.low is None or interval.high is None:
        return ""
    if column.is_percent:
        return f"[{interval.low * 100:.1f}, {interval.high * 100:.1f}]"
    return bounds_text(interval.low, interval.high)


def leaderboard_html(board: Leaderboard) -> str:
    """Return the text of `leaderboard.html`: light or dark as the reader prefers, scrolling where it is narrow."""
    environment = template_environment("cmi_bench.reporting.leaderboard.build")
    return environment.get_template("leaderboard.html.j2").render(
        board=board,
        own=RowKind.OWN,
        headings=headings,
        before_ceiling=before_ceiling,
        interval=interval_in_units,
        no_figure=NO_FIGURE,
        ceiling_label=CEILING_LABEL,
        # The project's own style sheets, so there is nothing in them to escape.
        styles=[
            own_files("cmi_bench.reporting.html", "style.css"),
            own_files("cmi_bench.reporting.leaderboard", "leaderboard.css"),
        ],
    )


_ESCAPES = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "…": r"\ldots{}"}
)


def leaderboard_latex(board: Leaderboard) -> str:
    """Return the text of `leaderboard.tex`."""
    notes = " ".join(_escape(note) for note in (board.source, board.ceiling_note, *board.notes))
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(_latex_table(one, notes) for one in board.tables)


def _escape(text: str) -> str:
    return one_line(text).translate(_ESCAPES)


def _latex_table(one: BoardTable, notes: str) -> str:
    columns = one.form.columns
    own = [row for row in one.rows if row.kind is RowKind.OWN]
    upper = " & ".join(f"\\multicolumn{{{span}}}{{c}}{{{_escape(name)}}}" for name, span in headings(one.form))
    footnotes = " ".join(f"$^{{{number}}}${_escape(note)}" for number, note in enumerate(one.footnotes, start=1))
    ceiling = f"\\multicolumn{{{len(one.form.ceiling)}}}{{c}}{{{one.ceiling}}}"
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{one.form.title}. Bold: best, underlined: second. {notes} {footnotes}}}",
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        f" & {upper} \\\\",
        f"Model & {' & '.join(_escape(column.name) for column in columns)} \\\\",
        r"\midrule",
        *(_latex_line(row, one) for row in one.rows if row.kind is RowKind.REPORTED),
        *([r"\midrule"] if own else []),
        *(_latex_line(row, one) for row in own),
        r"\midrule",
        f"{CEILING_LABEL} & {'& ' * before_ceiling(one.form)}{ceiling} \\\\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_line(row: BoardRow, one: BoardTable) -> str:
    cells = [_latex_cell(row.cells.get(column.key), column, one) for column in one.form.columns]
    return f"{_escape(row.label)}{_latex_marks(row.notes, one)} & {' & '.join(cells)} \\\\"


def _latex_cell(cell: BoardCell | None, column: Column, one: BoardTable) -> str:
    if cell is None:
        return NO_FIGURE
    shown = {Rank.BEST: f"\\textbf{{{cell.text}}}", Rank.SECOND: f"\\underline{{{cell.text}}}"}
    group = f"$_{{\\mathrm{{{cell.significance_group}}}}}$" if cell.significance_group else ""
    interval = interval_in_units(cell, column)
    beside = f" {{\\scriptsize {interval}}}" if interval else ""
    return f"{shown[cell.rank] if cell.rank else cell.text}{group}{_latex_marks(cell.notes, one)}{beside}"


def _latex_marks(notes: Sequence[str], one: BoardTable) -> str:
    return f"$^{{{','.join(map(str, one.marks(notes)))}}}$" if notes else ""


MARKDOWN_LEGEND = "**Bold**: best of a column; _italic_: second. ACC in percent. Own rows are marked ▸."


def leaderboard_markdown(board: Leaderboard) -> str:
    """Return the text of `leaderboard.md`."""
    parts = ["# CMI-RewardBench leaderboard", MARKDOWN_LEGEND]
    for one in board.tables:
        parts += [
            f"## {one.form.title}",
            _markdown_table(one),
            f"{CEILING_LABEL}: {one.ceiling} (CMI-Pref, all conditions).",
        ]
        parts += _footnotes(one)
    parts.append("\n".join(f"- {escape(note)}" for note in (board.source, board.ceiling_note, *board.notes)))
    return "\n\n".join(parts) + "\n"


def _markdown_table(one: BoardTable) -> str:
    header = ["model", *(f"{column.heading} {column.name}" for column in one.form.columns)]
    lines = [
        [
            _markdown_label(row, one),
            *(_markdown_cell(row.cells.get(column.key), column, one) for column in one.form.columns),
        ]
        for row in one.rows
    ]
    return table(header, lines, numbers_from=1)


def _markdown_label(row: BoardRow, one: BoardTable) -> str:
    mark = "▸ " if row.kind is RowKind.OWN else ""
    return f"{mark}{escape(row.label)}{_markdown_marks(row.notes, one)}"


def _markdown_cell(cell: BoardCell | None, column: Column, one: BoardTable) -> str:
    if cell is None:
        return NO_FIGURE
    strong = {Rank.BEST: "**", Rank.SECOND: "_", None: ""}[cell.rank]
    group = f" {cell.significance_group}" if cell.significance_group else ""
    interval = interval_in_units(cell, column)
    below = f"<br>{interval}" if interval else ""
    return f"{strong}{cell.text}{strong}{group}{_markdown_marks(cell.notes, one)}{below}"


def _markdown_marks(notes: Sequence[str], one: BoardTable) -> str:
    return f"<sup>{','.join(map(str, one.marks(notes)))}</sup>" if notes else ""


def _footnotes(one: BoardTable) -> list[str]:
    lines = [f"{number}. {escape(note)}" for number, note in enumerate(one.footnotes, start=1)]
    return ["\n".join(lines)] if lines else []


TERMINAL_LEGEND = (
    "¹ best, ² second of a column; ° not over the rows of the reported figures, so not ranked; ? undefined."
    " ▸ own runs; * see the note on the run."
)
_MARKS = {Rank.BEST: "¹", Rank.SECOND: "²", None: " "}
_STYLES = {Rank.BEST: "bold green", Rank.SECOND: "bold", None: ""}


def leaderboard_view(board: Leaderboard) -> RenderableType:
    """Return both tables without intervals, which are in the files; readable at 80 columns."""
    parts: list[RenderableType] = []
    for one in board.tables:
        ceiling = f"{CEILING_LABEL} on CMI-Pref: {one.ceiling}\n"
        parts += [text_cell(f"{one.form.title}\n", style="bold"), _terminal_table(one), text_cell(ceiling)]
    return Group(
        *parts, *(text_cell(note) for note in (TERMINAL_LEGEND, board.source, board.ceiling_note, *board.notes))
    )


def _terminal_table(one: BoardTable) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
    table.add_column("model", overflow="fold", min_width=18)
    for column in one.form.columns:
        # One word a line, as eight columns of figures leave no room for more.
        words = f"{column.heading} {column.name}".replace("CMI-", "CMI- ").replace("MusicEval", "Music Eval").split()
        table.add_column("\n".join(words), justify="right", no_wrap=True)
    for row in one.rows:
        cells = [_terminal_cell(row.cells.get(column.key), column) for column in one.form.columns]
        table.add_row(text_cell(_terminal_label(row)), *cells)
    return table


def _terminal_label(row: BoardRow) -> str:
    return f"▸ {row.label}{'*' if row.notes else ''}" if row.kind is RowKind.OWN else row.label


def _terminal_cell(cell: BoardCell | None, column: Column) -> Text:
    """One digit less than in the files, so that nine columns fit."""
    if cell is None:
        return text_cell(f"{NO_FIGURE} ", style="dim")
    if cell.value is None:
        return text_cell("? ", style="dim")
    shown = f"{cell.value * 100:.1f}" if column.is_percent else bare(cell.value)
    if not cell.is_comparable:
        return text_cell(f"{shown}°", style="dim")
    return text_cell(shown + _MARKS[cell.rank], style=_STYLES[cell.rank])


FILES = {
    "leaderboard.csv": leaderboard_csv,
    "leaderboard.md": leaderboard_markdown,
    "leaderboard.tex": leaderboard_latex,
    "leaderboard.html": leaderboard_html,
}
"""By name: what makes its text of a leaderboard."""


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """Write the leaderboard's files into a folder, which is made if missing."""
    return write_files(board, FILES, folder)
