"""Failing to write: a full disk is said as such, and is no clip's fault."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from cmi_bench.errors import RunError


@contextlib.contextmanager
def writing_to(folder: Path, *, instead: str) -> Iterator[None]:
    """Turn an operating system's refusal to write into a message.

    Args:
        folder: Where something is written.
        instead: What the user can do besides making room.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"The disk that holds {folder} is full." if full else f"Cannot write to {folder}: {error.strerror}."
        raise RunError(
            what, f"{'Make room' if full else 'Check its permissions'}, or {instead}; then run again: it goes on."
        ) from error
