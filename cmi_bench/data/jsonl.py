"""Read JSON-lines files, with errors that name file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.errors import UserError


class Line(NamedTuple):
    """One object of a JSON-lines file."""

    number: int
    """Counted from 1, as editors do."""
    value: dict[str, Any]


def read_jsonl(path: Path) -> Iterator[Line]:
    """Yield the objects of a JSON-lines file; blank lines are passed over.

    Raises:
        UserError: The file is missing or not UTF-8, or a line is not one JSON object.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield Line(number, parse_object(text, f"{path}, line {number}"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist.", "Check the path; the benchmark's data are had with python run.py task=prepare."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}") from error


def parse_object(text: str, where: str) -> dict[str, Any]:
    """Read one line.

    Raises:
        UserError: It is not one JSON object; the message begins with `where`.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}, column {error.colno}: not JSON ({error.msg}).", "Each line must be one JSON object."
        ) from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: a JSON {type(value).__name__}, not an object.", "Each line must be one JSON object.")
    return value
