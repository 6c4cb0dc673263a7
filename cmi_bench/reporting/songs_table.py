"""Scores of single songs, as a table for people."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

NUMBERS_WIDTH = 60
"""Columns that the table takes besides the names."""


@dataclass(frozen=True)
class SongLine:
    """What the table says of a song."""

    name: str
    alignment: float
    """NaN where the model does not judge it, or failed."""
    musicality: float
    """NaN where the model does not judge it, or failed."""
    error: str = ""
    """Why there is no score; empty where there is one."""
    rank: int | None = None
    """In a ranking; None outside of one, or where the song failed."""
    mean: float | None = None
    """Where that is what the songs are ranked by."""


def songs_view(lines: Sequence[SongLine], title: str = "", note: str = "") -> RenderableType:
    """Return the table, and below it a note and why songs could not be scored."""
    ranked = any(line.rank is not None for line in lines)
    with_mean = any(line.mean is not None for line in lines)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if ranked:
        table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("song", overflow="fold")
    for name in (*(["mean"] if with_mean else []), "musicality", "alignment"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        cells = [Text("" if line.rank is None else str(line.rank))] if ranked else []
        means = [_number(line.mean, line)] if with_mean else []
        table.add_row(*cells, Text(line.name), *means, _number(line.musicality, line), _number(line.alignment, line))
    below = [note] if note else []
    below += [line.error if line.name in line.error else f"{line.name}: {line.error}" for line in lines if line.error]
    return Group(*([Text(title, style="bold")] if title else []), table, *map(Text, below))


def table_width(lines: Sequence[SongLine]) -> int:
    """Return how wide the table is when no name is folded, as in a file, where others look for whole lines."""
    return NUMBERS_WIDTH + max((len(line.name) for line in lines), default=0)


def _number(value: float | None, line: SongLine) -> Text:
    if line.error:
        return Text("failed", style="bold red")
    return Text("n/a", style="dim") if value is None or math.isnan(value) else Text(f"{value:.4f}")
