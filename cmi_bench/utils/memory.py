"""Memory: how much of the machine's is free for this process, what becomes of what it frees, pages of mapped files."""

import bisect
import ctypes
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MACHINE = Path("/proc/meminfo")
GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Return the bytes that this process may still take: of the machine's memory, and of its control groups' limits.

    What the system keeps of files counts as free. Where nothing is known, as outside of Linux, it is a number so large
    that nothing is bounded by it.
    """
    free = [1024 * int(line.split()[1]) for line in _lines(MACHINE) if line.startswith("MemAvailable:")]
    return max(0, min([*free, *_left_in_groups()], default=sys.maxsize))


def _left_in_groups() -> Iterator[int]:
    for line in _lines(GROUPS):
        # Version 2 has one hierarchy, without a name; in version 1 memory has one of its own.
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            root, limit, used, files = MOUNT, "memory.max", "memory.current", "inactive_file"
        elif "memory" in kinds.split(","):
            root, limit, used = MOUNT / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            files = "total_inactive_file"
        else:
            continue
        # A container sees its own group at the root, whatever its path outside is.
        group = root / path.lstrip("/")
        for folder in {root, group, *(parent for parent in group.parents if parent.is_relative_to(root))}:
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None:
                kept = (line.split() for line in _lines(folder / "memory.stat"))
                yield most - now + next((int(size) for name, size in kept if name == files), 0)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    """Return what a group's file says; "max" is no limit."""
    return next((int(line) for line in _lines(file) if line.isdigit()), None)


TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Of glibc's `mallopt`, from malloc.h."""
KEPT_BYTES = {MMAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 256 * 2**20, TOP_PAD: 64 * 2**20}
"""Smaller blocks than the first are not mapped one by one, and so much freed memory stays with the process."""


def keep_freed_memory() -> None:
    """Have freed memory used again instead of given back: each batch needs as much as the last, page by page.

    Nothing is done where the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in KEPT_BYTES.items():
            mallopt(parameter, size)


class FilePages:
    """Pages of mapped files that this process has in its memory, such as those of weights.

    They can be given back: what is read again comes from the file, or from what the system keeps of it. Nothing is done
    on other systems than Linux.
    """

    MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+)")
    """The first line of a mapping in /proc/self/smaps: its ends, and the file's inode, 0 where there is no file."""

    def __init__(self) -> None:
        """Look at what is mapped now, and leave out files of which the process has changed a page for itself."""
        self._mappings: list[tuple[int, int]] = []
        inode, ends = "0", (0, 0)
        for line in _lines(Path("/proc/self/smaps")):
            if line.startswith("Anonymous:"):
                if inode != "0" and line.split()[1] == "0":
                    self._mappings.append(ends)
            elif found := self.MAPPING.match(line):
                inode, ends = found[3], (int(found[1], 16), int(found[2], 16))
        self._madvise = getattr(ctypes.CDLL(None), "madvise", None) if self._mappings else None

    def release(self, start: int, size: int) -> None:
        """Give back the whole pages in so many bytes from an address on, if all of it is of a mapped file."""
        at = bisect.bisect_right(self._mappings, (start, sys.maxsize)) - 1
        if self._madvise is None or at < 0 or start + size > self._mappings[at][1]:
            return
        first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, (start + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last:
            self._madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)
