"""Reads the packs of a store: which there are, where each entry is, and the entries that are asked for."""

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cmi_bench.scoring.pack_address import PackAddress
from cmi_bench.scoring.pack_folder import PackFolder, Span, Written
from cmi_bench.scoring.pack_index import RECORD, PackIndex, Places

LARGEST_READ = 4 * 2**20
"""Bytes that are read at once of small entries side by side."""
STALE_AFTER = 60.0
"""Seconds after which is looked for what other processes have removed."""
CHEAP, SHARE_OF_LOOKING = 1e-3, 0.05
"""Looking whether other processes have written something: seconds that do not count, and the share of the time that it
may take where there are more packs."""


class PackReader:
    """The packs of a folder or an address, with their index."""

    def __init__(self, source: PackFolder | PackAddress) -> None:
        self.source = source
        self._index = PackIndex()
        self._names: list[str] = []
        """Packs by number; one that is gone keeps its number."""
        self._numbers: dict[str, int] = {}
        self._read: dict[str, int] = {}
        """How many bytes of each pack's index are in memory."""
        self._rest_until = -math.inf

    @property
    def is_stale(self) -> bool:
        """Whether so long nobody has looked that packs may have been removed of which all entries seem to be there."""
        return time.monotonic() - self._rest_until > STALE_AFTER

    def newest(self, hashed: NDArray[np.uint64]) -> Places:
        """See `PackIndex.newest`."""
        return self._index.newest(hashed)

    def look_again(self, *, at_once: bool = False) -> bool:
        """Read what others have written meanwhile, and return whether there was anything.

        Args:
            at_once: Look in any case, and not only if the last look is long enough ago.
        """
        if time.monotonic() < self._rest_until and not at_once:
            return False
        before = time.thread_time()
        sizes = self.source.index_sizes()
        cost = time.thread_time() - before
        rest = cost / SHARE_OF_LOOKING if cost > CHEAP else 0.0
        self._rest_until = time.monotonic() + max(self.source.patience, rest)
        for name in self._read.keys() - sizes.keys():
            self.drop(name)
        grown = {name: (self._read.get(name, 0), _whole(size)) for name, size in sizes.items()}
        grown = {name: span for name, span in grown.items() if span[0] < span[1]}
        read = self.source.read_indexes(grown) if grown else {}
        records = {name: np.frombuffer(content[: _whole(len(content))], RECORD) for name, content in read.items()}
        if records:
            numbers = [np.full(len(one), self._number(name), np.int32) for name, one in records.items()]
            self._index.add(np.concatenate(list(records.values())), np.concatenate(numbers))
        for name, one in records.items():
            self._read[name] = grown[name][0] + one.nbytes
        return bool(records)

    def take(self, written: Written) -> None:
        """Take in what this process has written."""
        self._index.add(written.records, self._number(written.pack))
        # Of a pack that another process has begun, the beginning may not have been read yet.
        if self._read.get(written.pack, 0) == written.index_start:
            self._read[written.pack] = written.index_start + written.records.nbytes

    def drop(self, pack: str) -> None:
        """Forget a pack that is gone."""
        self.source.forget(pack)
        if self._read.pop(pack, None) is not None:
            self._index.drop(self._numbers[pack])

    def read(self, places: Places) -> Iterator[tuple[int, bytes | None]]:
        """Yield what is at each place, with its number; None where the pack is gone."""
        order = np.lexsort((places["offset"], places["pack"]))
        packs = places["pack"][order]
        for members in np.split(order, np.flatnonzero(packs[1:] != packs[:-1]) + 1):
            if not len(members):
                continue
            starts = places["offset"][members].astype(np.int64)
            spans = (starts, starts + places["length"][members])
            groups = _side_by_side(*(span.tolist() for span in spans), gap=self.source.gap)
            try:
                contents = self.source.read(self._names[int(places["pack"][members[0]])], [span for span, _ in groups])
            except FileNotFoundError:
                yield from ((int(member), None) for member in members)
                continue
            for (span, parts), content in zip(groups, contents, strict=True):
                for part, start, end in parts:
                    yield int(members[part]), content[start - span[0] : end - span[0]]

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]


def _whole(size: int) -> int:
    """Return the bytes of whole records."""
    return size - size % RECORD.itemsize


def _side_by_side(
    starts: Sequence[int], ends: Sequence[int], *, gap: int
) -> list[tuple[Span, list[tuple[int, int, int]]]]:
    """Return spans that are read at once, each with what is wanted of it: number, start and end.

    Args:
        starts: Where what is wanted begins, in order.
        ends: Where it ends.
        gap: Bytes between two that are rather read as well.
    """
    groups: list[tuple[Span, list[tuple[int, int, int]]]] = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        part = (number, start, end)
        if groups and start - groups[-1][0][1] <= gap and end - groups[-1][0][0] <= LARGEST_READ:
            (first, last), parts = groups[-1]
            parts.append(part)
            groups[-1] = ((first, max(last, end)), parts)
        else:
            groups.append(((start, end), [part]))
    return groups
