"""The leaderboard as LaTeX: one booktabs table each, to be read in with `\\input`."""

from collections.abc import Sequence

from cmi_bench.reporting.leaderboard.board import BoardRow, BoardTable, Cell, Kind, Leaderboard, Place
from cmi_bench.reporting.leaderboard.columns import Column
from cmi_bench.reporting.leaderboard.figures import (
    CEILING_LABEL,
    NO_FIGURE,
    before_ceiling,
    headings,
    interval_in_units,
)

_ESCAPES = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "…": r"\ldots{}"}
)


def leaderboard_latex(board: Leaderboard) -> str:
    """Return the text of `leaderboard.tex`."""
    notes = " ".join(_escape(note) for note in (board.source, board.ceiling_note, *board.notes))
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(_table(one, notes) for one in board.tables)


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


def _table(one: BoardTable, notes: str) -> str:
    columns = one.form.columns
    own = [row for row in one.rows if row.kind is Kind.OWN]
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
        *(_line(row, one) for row in one.rows if row.kind is Kind.REPORTED),
        *([r"\midrule"] if own else []),
        *(_line(row, one) for row in own),
        r"\midrule",
        f"{CEILING_LABEL} & {'& ' * before_ceiling(one.form)}{ceiling} \\\\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(row: BoardRow, one: BoardTable) -> str:
    cells = [_cell(row.cells.get(column.key), column, one) for column in one.form.columns]
    return f"{_escape(row.label)}{_marks(row.notes, one)} & {' & '.join(cells)} \\\\"


def _cell(cell: Cell | None, column: Column, one: BoardTable) -> str:
    if cell is None:
        return NO_FIGURE
    shown = {Place.BEST: f"\\textbf{{{cell.text}}}", Place.SECOND: f"\\underline{{{cell.text}}}"}
    letters = f"$_{{\\mathrm{{{cell.letters}}}}}$" if cell.letters else ""
    interval = interval_in_units(cell, column)
    beside = f" {{\\scriptsize {interval}}}" if interval else ""
    return f"{shown[cell.place] if cell.place else cell.text}{letters}{_marks(cell.notes, one)}{beside}"


def _marks(notes: Sequence[str], one: BoardTable) -> str:
    return f"$^{{{','.join(map(str, one.marks(notes)))}}}$" if notes else ""
