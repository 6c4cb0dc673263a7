"""Whether what is to come fits on the disk."""

import shutil
from pathlib import Path

from cmi_bench.errors import UserError

RESERVE = 256 * 2**20
"""Bytes that are left free for everybody else."""


def free_bytes(folder: Path) -> int:
    """Return the free space where a folder is, or is to be made."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def check_space(folder: Path, needed: int, *, what: str) -> None:
    """See whether there is room for something.

    Raises:
        UserError: There is not.
    """
    free = free_bytes(folder)
    if needed and needed + RESERVE > free:
        raise UserError(
            f"There is not enough space at {folder} for {what}: {in_words(needed)} are needed, {in_words(free)} free.",
            "Make room, choose another folder with data.root=..., or prepare a part, such as subset=pam.",
        )


def in_words(count: float) -> str:
    """Write a number of bytes for people.

    >>> in_words(2_900_000_000), in_words(1500), in_words(12)
    ('2.9 GB', '1.5 kB', '12 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
