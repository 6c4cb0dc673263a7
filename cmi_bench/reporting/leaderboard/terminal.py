"""The leaderboard for people, in a terminal or a text file."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.reporting.leaderboard.board import BoardTable, Cell, Kind, Leaderboard, Place
from cmi_bench.reporting.leaderboard.columns import Column
from cmi_bench.reporting.leaderboard.figures import CEILING_LABEL, NO_FIGURE
from cmi_bench.reporting.number_text import bare

LEGEND = "¹ best, ² second of a column; ° not over all rows, so not ranked; ? undefined. ▸ own runs."
_MARKS = {Place.BEST: "¹", Place.SECOND: "²", None: " "}
_STYLES = {Place.BEST: "bold green", Place.SECOND: "bold", None: ""}


def leaderboard_view(board: Leaderboard) -> RenderableType:
    """Return both tables without intervals, which are in the files; readable at 80 columns."""
    parts: list[RenderableType] = []
    for one in board.tables:
        ceiling = f"{CEILING_LABEL} on CMI-Pref: {one.ceiling}\n"
        parts += [Text(f"{one.form.title}\n", style="bold"), _table(one), Text(ceiling)]
    return Group(*parts, *(Text(note) for note in (LEGEND, board.source, board.ceiling_note, *board.notes)))


def _table(one: BoardTable) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
    table.add_column("model", overflow="fold", min_width=18)
    for column in one.form.columns:
        # One word a line, as eight columns of figures leave no room for more.
        words = f"{column.heading} {column.name}".replace("CMI-", "CMI- ").replace("MusicEval", "Music Eval").split()
        table.add_column("\n".join(words), justify="right", no_wrap=True)
    for row in one.rows:
        cells = [_cell(row.cells.get(column.key), column) for column in one.form.columns]
        table.add_row(Text(f"▸ {row.label}" if row.kind is Kind.OWN else row.label), *cells)
    return table


def _cell(cell: Cell | None, column: Column) -> Text:
    """One digit less than in the files, so that nine columns fit."""
    if cell is None:
        return Text(f"{NO_FIGURE} ", style="dim")
    if cell.value is None:
        return Text("? ", style="dim")
    shown = f"{cell.value * 100:.1f}" if column.is_percent else bare(cell.value)
    if not cell.is_comparable:
        return Text(f"{shown}°", style="dim")
    return Text(shown + _MARKS[cell.place], style=_STYLES[cell.place])
