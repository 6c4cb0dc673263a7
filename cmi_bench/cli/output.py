"""What a command prints: a table for people, JSON lines or CSV for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import typer

from cmi_bench.reporting.console import print_view
from cmi_bench.reporting.csv_text import csv_text
from cmi_bench.reporting.songs_table import SongLine, songs_view, table_width

SOME_FAILED = 3
"""Exit code where songs could not be scored and others were."""
NOTHING_SCORED = 1


class Form(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def print_table(lines: Sequence[SongLine], *, title: str = "", note: str = "") -> None:
    """Print a table; in a file or pipe as wide as it needs."""
    print_view(songs_view(lines, title, note), width=max(table_width(lines), len(title), len(note)))


def print_records(records: Sequence[Mapping[str, Any]], form: Form) -> None:
    """Print records for programs; NaN is null in JSON and nothing in CSV."""
    plain = [{name: _plain(value) for name, value in record.items()} for record in records]
    if form is Form.CSV:
        columns = list(dict.fromkeys(name for record in plain for name in record))
        typer.echo(csv_text(columns, plain), nl=False)
    else:
        typer.echo("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in plain), nl=False)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def exit_code(errors: Sequence[str]) -> int:
    """Return 0 where all songs were scored, 3 where some were, 1 where none was.

    >>> exit_code(["", ""]), exit_code(["", "cannot decode"]), exit_code(["cannot decode"])
    (0, 3, 1)
    """
    if not any(errors):
        return 0
    return NOTHING_SCORED if all(errors) else SOME_FAILED
