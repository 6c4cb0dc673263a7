"""Many objects as a sequence in a temporary file, so that memory holds eight bytes of each."""

import os
import pickle
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from cmi_bench.utils.files import writing_to

T = TypeVar("T")

IN_MEMORY = 4096
"""So many objects are kept in memory; only more of them go to a file."""
READ_AT_ONCE = 1 << 20
"""Bytes; a loop over all objects reads in pieces of about this size."""


class Spool(Sequence[T]):
    """Objects in a file without a name, which is gone with the process however that ends.

    A loop over it reads the file once, from its start; `objects[i]` reads one. Each access makes a new object. Several
    threads, and processes forked from this one, may read.
    """

    def __init__(
        self, objects: Iterable[T], *, pack: Callable[[T], object] = lambda one: one, unpack: Callable[[Any], T]
    ) -> None:
        """Write the objects as they come.

        Args:
            objects: What to keep.
            pack: Returns plain values for an object.
            unpack: Returns the object of such values.

        Raises:
            RunError: The disk is full.
        """
        self._unpack = unpack
        self._ends = array("q")
        self._file = tempfile.TemporaryFile(prefix="cmi_bench_")  # noqa: SIM115 # as long as the sequence
        for content in (pickle.dumps(pack(one), pickle.HIGHEST_PROTOCOL) for one in objects):
            with writing_to(Path(tempfile.gettempdir()), instead="set TMPDIR to a folder on another disk"):
                self._file.write(content)
            self._ends.append((self._ends[-1] if self._ends else 0) + len(content))
        with writing_to(Path(tempfile.gettempdir()), instead="set TMPDIR to a folder on another disk"):
            self._file.flush()

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return (
                list(self._between(start, stop)) if step == 1 else [self[place] for place in range(start, stop, step)]
            )
        place = range(len(self))[index]
        return next(self._between(place, place + 1))

    def __iter__(self) -> Iterator[T]:
        yield from self._between(0, len(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"

    def _between(self, start: int, stop: int) -> Iterator[T]:
        while start < stop:
            begin = first = self._ends[start - 1] if start else 0
            last = start
            while last + 1 < stop and self._ends[last] - begin < READ_AT_ONCE:
                last += 1
            content = os.pread(self._file.fileno(), self._ends[last] - begin, begin)
            for place in range(start, last + 1):
                end = self._ends[place]
                yield self._unpack(pickle.loads(content[first - begin : end - begin]))
                first = end
            start = last + 1


def keep(
    objects: Iterable[T], *, pack: Callable[[T], object] = lambda one: one, unpack: Callable[[Any], T]
) -> Sequence[T]:
    """Return objects as a sequence: a few of them as a tuple, many as a `Spool`; see there."""
    remaining = iter(objects)
    few: list[T] = []
    for one in remaining:
        few.append(one)
        if len(few) > IN_MEMORY:
            break
    else:
        return tuple(few)

    def rest() -> Iterator[T]:
        few.reverse()
        while few:  # let go of them one by one
            yield few.pop()
        yield from remaining

    return Spool(rest(), pack=pack, unpack=unpack)
