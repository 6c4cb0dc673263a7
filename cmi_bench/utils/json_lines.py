"""A JSON-lines file as a sequence: objects are read where they are asked for, memory holds eight bytes of each."""

import json
import os
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, overload

from cmi_bench.errors import RunError
from cmi_bench.utils.files import open_regular, replacing


class JsonLines(Sequence[dict[str, Any]]):
    """The objects of a JSON-lines file; lines without a brace, such as blank ones, hold none.

    A loop over it reads the file once, from its start; `lines[i]` reads one line. Each access makes a new object. The
    lines are taken at their word: who reads a file that others wrote checks it first (`data.rows.read_jsonl`).
    """

    def __init__(self, path: Path) -> None:
        """Find where the lines begin, in one pass over the file.

        Raises:
            OSError: The file cannot be read, or is no regular one.
        """
        self.path = path
        with open_regular(path) as file:
            self._state = _state(file)
            self._starts = array("q", _starts(file))

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return list(self.take(range(*index.indices(len(self)))))
        return next(self.take([range(len(self))[index]]))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._opened() as file:
            file.seek(self._starts[0] if len(self) else 0)
            yield from (_decode(line) for line in file if BRACE in line)

    def take(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the objects at some places, counted from 0; in rising order they are read from start to end."""
        with self._opened() as file:
            for place in places:
                file.seek(self._starts[place])
                yield _decode(file.readline())

    def _opened(self) -> BufferedReader:
        """Open the file, and make sure that lines still begin where they were found."""
        file = open_regular(self.path)
        if _state(file) != self._state:
            file.close()
            raise RunError(f"{self.path} was changed while it was being read.", "Run again when nothing writes it.")
        return file

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment] # as of a list

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} ({len(self)} lines)>"


BRACE = b"{"
"""Without it a line holds no object."""
_json = json.JSONDecoder()


def _decode(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = _json.decode(line.decode())
    return found


def _starts(lines: Iterable[bytes]) -> Iterator[int]:
    start = 0
    for line in lines:
        if BRACE in line:
            # Behind a byte order mark, which only the file's first line can have.
            yield start + (len(BOM_UTF8) if not start and line.startswith(BOM_UTF8) else 0)
        start += len(line)


def _state(file: BufferedReader) -> tuple[int, int]:
    """Return what changes with a file's content: size and time of the last change."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def objects_at(objects: Sequence[Mapping[str, Any]], places: Iterable[int]) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list or a file at some places, counted from 0; a file is opened once."""
    return objects.take(places) if isinstance(objects, JsonLines) else (objects[place] for place in places)


def write_json_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write objects, one a line, as they come; the file appears when it is whole.

    Raises:
        OSError: No space, or the folder cannot be written.
    """
    with replacing(path) as file:
        for one in objects:
            file.write(json.dumps(one, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
