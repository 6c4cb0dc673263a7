"""Packs in a local folder: read by any number of processes, each pack written by the one that holds its lock.

A pack is two files, `NAME.pack` with the entries one after the other and `NAME.index` with a record of each
(`pack_index.RECORD`), written after the entry. What a kill has left of either beyond the last whole record is cut off
by the writer that takes the pack over.
"""

import contextlib
import errno
import fcntl
import math
import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum, auto
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.scoring.pack_index import RECORD

PACK, INDEX = ".pack", ".index"
OPEN_PACKS = 64
"""Files that a process keeps open for reading."""
TOUCHED_AFTER = 3600.0
"""Seconds after which a pack that is read is marked as used again."""

Span = tuple[int, int]
"""Where bytes begin and end."""


class PackFacts(NamedTuple):
    """What is known of a pack without reading it."""

    name: str
    entries: int
    bytes: int
    used: float
    """When it was last used, in seconds of the epoch."""


class Written(NamedTuple):
    """What was appended to a pack."""

    pack: str
    records: NDArray[Any]
    index_start: int
    """Where in the index the records begin."""


def facts_of_files(files: Mapping[str, tuple[int, float]]) -> list[PackFacts]:
    """Return the facts of packs, by name.

    Args:
        files: Size and time of the last use of each file, by its name.
    """
    found = []
    for name in sorted({file.removesuffix(PACK).removesuffix(INDEX) for file in files}):
        (size, used), (index, indexed) = (files.get(name + suffix, (0, 0.0)) for suffix in (PACK, INDEX))
        found.append(PackFacts(name, index // RECORD.itemsize, size + index, max(used, indexed)))
    return found


class PackFolder:
    """The packs of a folder."""

    gap = 1 << 14
    """Bytes between two entries that are rather read as well than left out."""
    patience = 0.0
    """Seconds between two looks for what is new, at least."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._touched: dict[str, float] = {}
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return str(self.folder)

    def index_sizes(self) -> dict[str, int]:
        """Return the bytes that each pack's index has by now, by name."""
        sizes = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as files:
            for file in files:
                if file.name.endswith(INDEX):
                    with contextlib.suppress(FileNotFoundError):  # another process removed it
                        sizes[file.name.removesuffix(INDEX)] = file.stat().st_size
        return sizes

    def read_indexes(self, spans: Mapping[str, Span]) -> dict[str, bytes]:
        """Return spans of indexes, by name; of one that is gone, nothing."""
        found = {}
        for name, (start, end) in spans.items():
            with contextlib.suppress(FileNotFoundError), (self.folder / (name + INDEX)).open("rb", buffering=0) as file:
                found[name] = _read_at(file.fileno(), start, end)
        return found

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Return spans of a pack; one beyond its end is shorter.

        Raises:
            FileNotFoundError: The pack is gone.
        """
        with self._lock:  # nobody else may close the file meanwhile
            descriptor = self._opened(name)
            return [_read_at(descriptor, start, end) for start, end in spans]

    def facts(self) -> list[PackFacts]:
        """Return what is known of all packs, by name."""
        files = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith((PACK, INDEX)):
                    with contextlib.suppress(FileNotFoundError):
                        files[entry.name] = (entry.stat().st_size, entry.stat().st_mtime)
        return facts_of_files(files)

    def remove(self, name: str, *, force: bool = False) -> bool:
        """Remove a pack, and tell whether it was.

        Args:
            name: Its name.
            force: Also if another process is writing to it; it goes on in a new one.
        """
        with _locked(self.folder / (name + INDEX)) as held:
            if held is Lock.TAKEN and not force:
                return False
            # A reader that knows the pack finds that it is gone; one that does not never hears of it.
            (self.folder / (name + PACK)).unlink(missing_ok=True)
            (self.folder / (name + INDEX)).unlink(missing_ok=True)
        return True

    def forget(self, name: str) -> None:
        """Close a pack that is gone."""
        with self._lock:
            self._open.pop(name, None)

    def _opened(self, name: str) -> int:
        path = self.folder / (name + PACK)
        if name not in self._open:
            self._open[name] = _OpenFile(path, os.O_RDONLY)
            if len(self._open) > OPEN_PACKS:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        if time.monotonic() - self._touched.get(name, -TOUCHED_AFTER) >= TOUCHED_AFTER:
            self._touched[name] = time.monotonic()
            try:
                os.utime(path)
            except FileNotFoundError:  # removed: its bytes are on the disk as long as somebody has it open
                self._open.pop(name)
                raise
            except OSError:  # a folder that can only be read
                pass
        return self._open[name].descriptor


class PackWriter:
    """Appends to one pack of a folder after the other; no other process writes to the one that it has open."""

    def __init__(self, folder: Path, pack_bytes: int) -> None:
        """Say where.

        Args:
            folder: Made when something is written.
            pack_bytes: A pack that has so many takes no further entry.
        """
        self.folder = folder
        self.pack_bytes = pack_bytes
        self._pack: OwnPack | None = None

    def append(self, records: NDArray[Any], entries: Sequence[bytes]) -> Iterator[Written]:
        """Write entries and then their records; yield these.

        Args:
            records: Of the type `RECORD`; offset and length are set here.
            entries: The bytes of each; b"" for a key that has no entry any more.

        Raises:
            OSError: No space, or the folder cannot be written. What was yielded is written.
        """
        start = 0
        while start < len(entries):
            pack = self._writable()
            end, offset = start, pack.end
            while end < len(entries) and offset < self.pack_bytes:
                records[end]["offset"], records[end]["length"] = offset, len(entries[end])
                offset += len(entries[end])
                end += 1
            index_start = pack.index_end
            pack.append(b"".join(entries[start:end]), records[start:end].tobytes())
            yield Written(pack.name, records[start:end], index_start)
            start = end

    def close(self) -> None:
        """Let go of the pack: any process may go on in it."""
        self._pack = None

    @property
    def size(self) -> int:
        """The bytes of the pack that is written to."""
        return self._pack.end if self._pack else 0

    def _writable(self) -> "OwnPack":
        if self._pack is None or self._pack.is_gone or self._pack.end >= self.pack_bytes:
            self._pack = None  # its lock is free before another one is looked for
            self.folder.mkdir(parents=True, exist_ok=True)
            self._pack = self._taken_over() or OwnPack.begun(self.folder)
        return self._pack

    def _taken_over(self) -> "OwnPack | None":
        """Return a pack with room that nobody writes to any more."""
        return next((own for own in unused_packs(self.folder, self.pack_bytes) if own.end < self.pack_bytes), None)


def unused_packs(folder: Path, most: float = math.inf, *, without_locks: bool = False) -> "Iterator[OwnPack]":
    """Take packs over that no process writes to any more, one by one: each is locked as long as it is referred to.

    Args:
        folder: Where they are.
        most: Only packs of fewer bytes.
        without_locks: Also where the file system has no locks, and nothing tells whether somebody writes to them.
    """
    usable = {Lock.OURS, Lock.UNKNOWN} if without_locks else {Lock.OURS}
    for path in sorted(folder.glob(f"*{INDEX}")):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            if path.with_suffix(PACK).stat().st_size < most:
                index = _OpenFile(path, os.O_RDWR)
                own = OwnPack.continued(path, index) if index.try_lock() in usable else None
                if own is not None:
                    yield own


class OwnPack:
    """A pack that this process writes to."""

    def __init__(self, name: str, pack: "_OpenFile", index: "_OpenFile", *, end: int, index_end: int) -> None:
        self.name = name
        self.end = end
        self.index_end = index_end
        self._pack, self._index = pack, index

    @classmethod
    def begun(cls, folder: Path) -> "OwnPack":
        """Begin a new one; where there are no locks, its unique name keeps others from writing to it."""
        # Names sort by age, which is all that is known of a pack at an address.
        name = f"{time.time_ns():016x}{uuid.uuid4().hex[:16]}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        # The index is locked before there is a pack, without which nobody takes it over.
        index = _OpenFile(folder / (name + INDEX), flags)
        index.try_lock()
        return cls(name, _OpenFile(folder / (name + PACK), flags), index, end=0, index_end=0)

    @classmethod
    def continued(cls, path: Path, index: "_OpenFile") -> "OwnPack | None":
        """Go on in a pack whose lock is held, without what a kill has left half written; None if it was removed."""
        pack = _OpenFile(path.with_suffix(PACK), os.O_RDWR)
        if index.is_gone or pack.is_gone:
            return None
        size = index.size - index.size % RECORD.itemsize
        records = np.frombuffer(_read_at(index.descriptor, 0, size), RECORD)
        ends = records["offset"].astype(np.int64) + records["length"]
        # A record beyond the pack's end, as a computer that lost its power may leave, belongs to nothing.
        end = int(ends[ends <= pack.size].max(initial=0))
        os.ftruncate(pack.descriptor, end)
        os.ftruncate(index.descriptor, size)
        return cls(path.stem, pack, index, end=end, index_end=size)

    @property
    def entries(self) -> int:
        """How many records it has."""
        return self.index_end // RECORD.itemsize

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed it."""
        return self._pack.is_gone or self._index.is_gone

    def append(self, content: bytes, records: bytes) -> None:
        """Write entries, then their records; what fails is as if it had not been tried."""
        _write_at(self._pack.descriptor, content, self.end)
        _write_at(self._index.descriptor, records, self.index_end)
        self.end += len(content)
        self.index_end += len(records)


class Lock(StrEnum):
    """What came of trying to lock a file."""

    OURS = auto()
    TAKEN = auto()
    UNKNOWN = auto()
    """The file system has no locks."""


class _OpenFile:
    """A file descriptor that is closed with the object; a lock ends with it, or with the process."""

    def __init__(self, path: Path, flags: int) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    @property
    def is_gone(self) -> bool:
        return os.fstat(self.descriptor).st_nlink == 0

    def try_lock(self) -> Lock:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Lock.TAKEN
        except OSError:  # network file systems without locks: ENOLCK, ENOSYS, EOPNOTSUPP
            return Lock.UNKNOWN
        return Lock.OURS


@contextlib.contextmanager
def _locked(index: Path) -> Iterator[Lock]:
    """Hold the lock of a pack's index; yields what came of it, `Lock.OURS` also where there is no such file."""
    try:
        file = _OpenFile(index, os.O_RDWR)
    except OSError:
        yield Lock.OURS
        return
    try:
        yield file.try_lock()
    finally:
        del file


def _read_at(descriptor: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of it, or leave the file as long as it was."""
    rest = memoryview(content)
    try:
        while rest:
            done = os.pwrite(descriptor, rest, offset + len(content) - len(rest))
            if not done:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rest = rest[done:]
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, offset)
        raise
