"""Bounded waiting: calls that may never return, and locks that other processes hold."""

import contextlib
import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from cmi_bench.errors import UserError

log = logging.getLogger(__name__)

T = TypeVar("T")
TELL_SECONDS = 2.0
"""A wait for another process that is longer than this is announced."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, if it returns in time.

    A socket's timeout counts anew with each byte that arrives, so a server that drips holds a request for hours; the
    lookup of a name has none at all. The call runs in a thread of its own; one that is late is left behind, ends with
    the process, and its result is dropped.

    Args:
        seconds: How long to wait.
        call: Takes no arguments; its exceptions are raised here.

    Raises:
        TimeoutError: The call took longer.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]


@contextlib.contextmanager
def locked(file: Path, *, seconds: float, what: str) -> Iterator[None]:
    """Hold the lock of a file; the system releases it when the process ends, however it ends.

    Args:
        file: The lock file, which stays behind; who holds the lock is written into it.
        seconds: How long to wait for another process.
        what: What is done under the lock, such as "writes the manifest", for the message.

    Raises:
        UserError: Another process still holds the lock; names the file and the holder.
        OSError: The lock file cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=min(TELL_SECONDS, seconds))
    except Timeout:
        log.info("Another process%s %s; waiting up to %.0f s for its lock %s.", _holder(file), what, seconds, file)
        try:
            lock.acquire(timeout=max(seconds - TELL_SECONDS, 0.0))
        except Timeout:
            raise UserError(
                f"Another process{_holder(file)} {what} and has held the lock {file} for more than {seconds:.0f} s.",
                "Wait until it is done, or end it (the lock goes with it); then run the same command again.",
            ) from None
    try:
        with contextlib.suppress(OSError):  # it only serves the message of those who wait
            file.write_text(f"{os.getpid()} {platform.node()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(file: Path) -> str:
    """Return who wrote itself into a lock file: " (process 123 on host)", or nothing."""
    try:
        pid, host = file.read_text(encoding="utf-8").split(maxsplit=1)
    except (OSError, ValueError):
        return ""
    return f" (process {pid} on {host.strip()})"
