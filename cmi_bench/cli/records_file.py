"""Read records from JSON lines, a JSON list or CSV, with errors that name file and line."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.data.jsonl import parse_object
from cmi_bench.errors import UserError
from cmi_bench.suggest import did_you_mean


class Record(NamedTuple):
    """One record of a file."""

    where: str
    """For messages: "requests.csv, line 3"."""
    fields: dict[str, Any]

    def text(self, name: str) -> str:
        """Return a field's text, "" where it is absent or null.

        Raises:
            UserError: It is something else than text.
        """
        value = self.fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise UserError(f"{self.where}: {name!r} is {value!r}, not text.", "Write it in quotation marks.")
        return value

    def needed(self, name: str) -> str:
        """Return a field's text.

        Raises:
            UserError: It is absent, empty or no text.
        """
        if name not in self.fields:
            raise UserError(f"{self.where}: there is no {name!r}.", did_you_mean(name, self.fields))
        value = self.text(name)
        if not value.strip():
            raise UserError(f"{self.where}: {name!r} is empty.", "Each record needs it.")
        return value


def read_records(path: Path) -> list[Record]:
    """Read a file: CSV by its suffix, otherwise JSON lines, or one JSON list.

    Raises:
        UserError: The file is missing, empty or not UTF-8, or a line is not what it should be.
    """
    try:
        # Spreadsheets put a byte order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.", "Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}", "Save it as UTF-8.") from error
    if path.suffix.lower() == ".csv":
        records = list(_csv(text, path))
    else:
        records = list(_json_list(text, path) if text.lstrip().startswith("[") else _json_lines(text, path))
    if not records:
        raise UserError(f"{path} holds no records.", "It takes one JSON object a line, or CSV with a header.")
    return records


def check_columns(records: Sequence[Record], path: Path, *columns: str) -> None:
    """Make sure that a file has columns at all, before single records are blamed.

    Raises:
        UserError: No record has one of them.
    """
    known = dict.fromkeys(name for record in records for name in record.fields)
    for column in columns:
        if column not in known:
            raise UserError(f"{path} has no column {column!r}.", did_you_mean(column, known))


def _json_lines(text: str, path: Path) -> Iterator[Record]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            yield Record(where, parse_object(line, where))


def _json_list(text: str, path: Path) -> Iterator[Record]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}).") from error
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise UserError(f"{path}, entry {number}: no JSON object.", "The list must hold one object a request.")
        yield Record(f"{path}, entry {number}", value)


def _csv(text: str, path: Path) -> Iterator[Record]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            where = f"{path}, line {reader.line_num}"
            # DictReader puts what is beyond the header under None, and None where a line is short.
            if None in fields or None in fields.values():
                raise UserError(f"{where}: not as many cells as the header has.", 'Put text with commas in "quotes".')
            yield Record(where, fields)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error}).", "Check its quotation marks.") from error
