"""A JSON-lines file as a sequence: objects are read where they are asked for, memory holds eight bytes of each."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from cmi_bench.utils.files import replacing


class JsonLines(Sequence[dict[str, Any]]):
    """The objects of a file that this program wrote itself: one a line, none of them blank.

    A loop over it reads the file once, from its start; `lines[i]` reads one line. Each access makes a new object.
    """

    def __init__(self, path: Path) -> None:
        """Find where the lines begin, in one pass over the file.

        Raises:
            OSError: The file cannot be read.
        """
        self.path = path
        with path.open("rb") as file:
            self._ends = np.fromiter(_ends(file), dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends.size)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        with self.path.open("rb") as file:
            file.seek(start)
            return dict(json.loads(file.read(int(self._ends[place]) - start)))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            yield from map(json.loads, file)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} ({len(self)} lines)>"


def _ends(lines: Iterable[bytes]) -> Iterator[int]:
    end = 0
    for line in lines:
        end += len(line)
        yield end


def write_json_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write objects, one a line, as they come; the file appears when it is whole.

    Raises:
        OSError: No space, or the folder cannot be written.
    """
    with replacing(path) as file:
        for one in objects:
            file.write(json.dumps(one, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
