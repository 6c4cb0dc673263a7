"""A table of one's own, as lines with named cells: CSV, TSV, JSON lines, a JSON list, or Parquet.

Nothing is interpreted here: cells of text files are text, and every line knows where it stands.
"""

import csv
import datetime
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.data.rows import Line, parse_object
from cmi_bench.errors import UserError
from cmi_bench.utils.documents import parse_json
from cmi_bench.utils.files import open_regular

PARQUET = frozenset({".parquet", ".pq"})
CELLS = {".csv": "CSV", ".tsv": "TSV", ".tab": "TSV"}
"""What a suffix of a file with a line of column names is called; all others are JSON."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


class Table(NamedTuple):
    """A file with named columns."""

    file: Path
    form: str
    """For people: "CSV with semicolons"."""
    unit: str
    """What a line's number counts: "line" of a text, "entry" of a list, "row" of Parquet."""
    columns: tuple[str, ...]
    """In the file's order."""
    lines: tuple[Line, ...]
    """Their cells by column, in the file's order; those of JSON may lack columns."""
    decimal_comma: bool = False
    """Whether 4,5 is a number, as where semicolons are between cells."""

    def place(self, number: int) -> str:
        """Return where a line stands, for messages."""
        return f"{self.unit} {number}"


def read_table(file: Path) -> Table:
    """Read a table by its suffix: `.csv`, `.tsv`, `.parquet`; any other file is JSON lines or one JSON list.

    Lines without any content are passed over. What is between the cells of a CSV file (commas, semicolons or tabs) is
    seen from its first line.

    Raises:
        UserError: The file is missing, empty, no text in UTF-8 or no table; with the line, where there is one.
    """
    suffix = file.suffix.lower()
    if suffix in PARQUET:
        found = _parquet(file)
    elif suffix in CELLS:
        found = _cells(file, CELLS[suffix], _text(file))
    else:
        found = _json(file, _text(file))
    if not found.lines:
        raise UserError(
            f"{file} holds no rows.", "It takes a line of column names and lines below it, or one JSON object a line."
        )
    return found


def _text(file: Path) -> str:
    try:
        with open_regular(file) as opened:
            # Spreadsheets put a byte order mark in front.
            return opened.read().decode("utf-8-sig")
    except OSError as error:
        raise unreadable(file, error) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"{file}, line {line} cannot be read as UTF-8 text.",
            "Save the file as UTF-8; spreadsheets call it CSV UTF-8.",
        ) from error


def unreadable(file: Path | str, error: OSError) -> UserError:
    """Return what to say of a file or address that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{file} does not exist.", "Check the path; it is relative to the folder you are in.")
    return UserError(f"{file} cannot be read: {error.strerror or error}.", "Check the path.")


class CellLines:
    """The lines of CSV or TSV, read as they are asked for; lines without any content are passed over."""

    def __init__(self, name: str | Path, kind: str, text: Iterable[str]) -> None:
        """Read the line of column names.

        Args:
            name: How messages call the file.
            kind: One of the values of `CELLS`.
            text: Lines with their ends.

        Raises:
            UserError: Two columns have the same name.
        """
        self.name, self.kind = name, kind
        lines = iter(text)
        # What is between cells is seen from the first line that has any.
        head = list(_up_to_content(lines))
        self.delimiter = _delimiter(head[-1] if head else "") if kind == "CSV" else "\t"
        self._reader = csv.reader(chain(head, lines), delimiter=self.delimiter, strict=True)
        self.columns = next((_columns(cells, name) for _, cells in self._filled()), ())

    @property
    def form(self) -> str:
        """For people: "CSV with semicolons"."""
        is_named = self.kind == "TSV" and self.delimiter == "\t"
        return self.kind if is_named else f"{self.kind} with {DELIMITERS[self.delimiter]}"

    def __iter__(self) -> Iterator[Line]:
        """Yield the lines below the column names that were not read yet.

        Raises:
            UserError: A line has too many or too few cells, or is no CSV.
        """
        for number, cells in self._filled():
            if len(cells) != len(self.columns):
                raise UserError(
                    f"{self.name}, line {number}: {len(cells)} cells, and there are {len(self.columns)} columns.",
                    f"Put text with {DELIMITERS[self.delimiter]} in it into quotation marks.",
                )
            yield Line(number, dict(zip(self.columns, cells, strict=True)))

    def _filled(self) -> Iterator[tuple[int, list[str]]]:
        try:
            while True:
                number = self._reader.line_num + 1
                cells = next(self._reader, None)
                if cells is None:
                    return
                if any(cell.strip() for cell in cells):
                    yield number, cells
        except csv.Error as error:
            raise UserError(
                f"{self.name}, line {self._reader.line_num}: not {self.kind} ({error}).", "Check its quotation marks."
            ) from error


def _up_to_content(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.strip():
            return


def _cells(file: Path, kind: str, text: str) -> Table:
    found = CellLines(file, kind, io.StringIO(text, newline=""))
    lines = tuple(found)
    return Table(file, found.form, "line", found.columns, lines, decimal_comma=found.delimiter == ";")


def _delimiter(first: str) -> str:
    """Return what is most often between the cells of a line; what stands in quotation marks does not count."""
    counts = Counter("".join(first.split('"')[::2]))
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])


def _columns(cells: list[str], file: str | Path) -> tuple[str, ...]:
    # A column without a name is usually the numbering that a data frame was saved with.
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{file} has two columns called {twice[0]!r}.", "Rename one of them.")
    return tuple(names)


def _json(file: Path, text: str) -> Table:
    if text.lstrip().startswith("["):
        values = parse_json(text, str(file), hint="Write a JSON list of objects, or one object a line.")
        for number, value in enumerate(values, start=1):
            if not isinstance(value, dict):
                raise UserError(f"{file}, entry {number}: no JSON object.", "The list must hold objects only.")
        lines, form, unit = [Line(number, value) for number, value in enumerate(values, start=1)], "JSON list", "entry"
    else:
        lines, form, unit = list(_json_lines(file, text)), "JSON lines", "line"
    columns = dict.fromkeys(name for line in lines for name in line.value)
    return Table(file, form, unit, tuple(columns), tuple(lines))


def _json_lines(file: Path, text: str) -> Iterator[Line]:
    # Not `splitlines`, which ends a line at characters that lyrics contain, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield Line(number, parse_object(line, f"{file}, line {number}"))


def _parquet(file: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        with open_regular(file) as opened:
            # Threads gain nothing here, and one that is still starting when the process ends aborts it.
            table = parquet.ParquetFile(opened, pre_buffer=False).read(use_threads=False)  # imports no pandas
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is not None:
            raise unreadable(file, error) from error
        raise UserError(f"{file} is not Parquet: {error}", "Save the table again.") from error
    except pyarrow.ArrowException as error:
        raise UserError(f"{file} is not Parquet: {error}", "Save the table again.") from error
    # Data frames keep their numbering under names that begin like this.
    columns = [name for name in table.column_names if not name.startswith("__index_level_")]
    lines = [
        Line(number, {name: _plain(row[name]) for name in columns})
        for number, row in enumerate(table.to_pylist(), start=1)
    ]
    return Table(file, "Parquet", "row", tuple(columns), tuple(lines))


def _plain(value: Any) -> Any:
    """Return a value that JSON has: NaN is no value, and what JSON does not know is text."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | bool) else str(value)
