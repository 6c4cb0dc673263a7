"""Processes that fill one cache at the same time share the work: each begins elsewhere, and passes over what is there.

Jobs of a sweep that are side by side want the same embeddings. Nobody waits for another, and none depends on another
going on; at most the batch that two are at in the same moment is encoded twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

MAX_FILLERS = 64


@contextmanager
def place_among_fillers(folder: Path) -> Iterator[float]:
    """Yield where in its plan this process begins: at 0 if it is alone, else 1/2, 1/4, 3/4, 1/8, ...

    Args:
        folder: The cache; the place is free again when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MAX_FILLERS):
        lock = FileLock(folder / f"filler{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        except (OSError, NotImplementedError):  # a file system without locks: then all begin at the start
            break
        try:
            yield spread(number)
        finally:
            lock.release()
        return
    yield 0.0


def spread(number: int) -> float:
    """Return the place of number 0, 1, 2, ...: each in the middle of the widest gap (van der Corput's sequence).

    >>> [spread(number) for number in range(5)]
    [0.0, 0.5, 0.25, 0.75, 0.125]
    """
    place, width = 0.0, 0.5
    while number:
        number, bit = divmod(number, 2)
        place, width = place + bit * width, width / 2
    return place
