"""Memory: how much of the machine's is free for this process, and what becomes of what it frees."""

import ctypes
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
