"""Rows as a long file gives them: each access makes a new one, and it is counted how many are alive at once."""

import gc
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class WatchedRow(dict[str, Any]):
    """A row that can be counted while it is alive."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class FleetingRows(Sequence[Mapping[str, Any]]):
    """Rows that nobody may keep."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows
        self._alive: weakref.WeakSet[WatchedRow] = weakref.WeakSet()
        self.most_alive = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        row = WatchedRow(self._rows[index])
        self._alive.add(row)
        if len(self._alive) > self.most_alive:
            gc.collect(0)
            self.most_alive = max(self.most_alive, len(self._alive))
        return row

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[at] for at in range(len(self)))
