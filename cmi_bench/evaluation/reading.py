"""Rows of results, read once: where they stand (a list, or a file of which no row is kept), and who reads of them.

A reader takes from each row what it wants to know, and keeps numbers of it; all readers go over the rows together, as
reading a line of a long file takes longer than looking at it.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from cmi_bench.utils.json_lines import objects_at


class ResultRow(NamedTuple):
    """One line of a results file."""

    number: int
    """Counted from 1 over all rows given: the line, in a file without blank lines."""
    raw: Mapping[str, Any]


class RowReader(Protocol):
    """Takes from each row what it wants to know."""

    def take(self, row: ResultRow) -> None:
        """Look at a row."""


def read_rows(rows: Iterable[ResultRow], *readers: RowReader) -> None:
    """Show all rows to all readers, in one pass."""
    for row in rows:
        for reader in readers:
            reader.take(row)


class RowView(Sequence[ResultRow]):
    """Some rows of results; a loop over it goes through the results once."""

    def __init__(self, results: Sequence[Mapping[str, Any]], places: NDArray[np.intp]) -> None:
        """Choose rows.

        Args:
            results: All rows.
            places: [n] which of them, from 0.
        """
        self.results = results
        self.places = places

    def __len__(self) -> int:
        return int(self.places.size)

    @overload
    def __getitem__(self, index: int) -> ResultRow: ...
    @overload
    def __getitem__(self, index: slice) -> "RowView": ...
    def __getitem__(self, index: int | slice) -> "ResultRow | RowView":
        if isinstance(index, slice):
            return RowView(self.results, self.places[index])
        place = int(self.places[index])
        return ResultRow(place + 1, self.results[place])

    def __iter__(self) -> Iterator[ResultRow]:
        raws = objects_at(self.results, _numbers(self.places))
        return (ResultRow(place + 1, raw) for place, raw in zip(_numbers(self.places), raws, strict=True))

    def take(self, chosen: NDArray[np.intp]) -> "RowView":
        """Return some of the rows, by their positions among these."""
        return RowView(self.results, self.places[chosen])


class JoinedRows(Sequence[ResultRow]):
    """Rows of several results, one after the other."""

    def __init__(self, parts: Sequence[RowView]) -> None:
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @overload
    def __getitem__(self, index: int) -> ResultRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[ResultRow]: ...
    def __getitem__(self, index: int | slice) -> ResultRow | list[ResultRow]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        part = int(np.searchsorted(self._ends, at, side="right"))
        return self.parts[part][at - int(self._ends[part])]  # from the part's end

    def __iter__(self) -> Iterator[ResultRow]:
        return chain.from_iterable(self.parts)

    def take(self, chosen: NDArray[np.intp]) -> "JoinedRows":
        """Return some of the rows, by their positions among these, rising."""
        starts = self._ends - np.array([len(part) for part in self.parts])
        of_parts = np.split(chosen, np.searchsorted(chosen, self._ends[:-1]))
        return JoinedRows(
            [part.take(these - start) for part, these, start in zip(self.parts, of_parts, starts, strict=True)]
        )


def as_numbers(kept: "array[Any]") -> NDArray[Any]:
    """Return what a reader kept, as an array [N] that takes no more memory; nothing can be added to it any more."""
    return np.frombuffer(kept, dtype=np.dtype(kept.typecode)) if kept else np.empty(0, dtype=np.dtype(kept.typecode))


BLOCK = 1 << 14
"""Places that are Python's numbers at a time."""


def _numbers(places: NDArray[np.intp]) -> Iterator[int]:
    return (place for start in range(0, places.size, BLOCK) for place in places[start : start + BLOCK].tolist())
