"""Embeddings on disk, by what was embedded and by which encoder.

Processes that fill one cache at the same time share the work: each begins elsewhere, and passes over what is there.

Jobs of a sweep that are side by side want the same embeddings. Nobody waits for another, and none depends on another
going on; at most the batch that two are at in the same moment is encoded twice.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cmi_bench.utils.files import write_bytes_atomic

log = logging.getLogger(__name__)


SUFFIX = ".safetensors"
DIGEST_BYTES = 32
GIGABYTE = 10**9


class CacheSize(NamedTuple):
    """What a cache holds."""

    entries: int
    bytes: int


class EmbeddingCache:
    """A folder of content-addressed entries, each a list of tensors.

    An entry's file is the SHA-256 of its contents followed by a safetensors document. It appears
    under its name only when it is whole, and is checked whenever it is read: a damaged one is
    removed and made anew. Any number of processes may use one folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()

    def path(self, key: str) -> Path:
        """Return where an entry is or would be."""
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def put(self, key: str, tensors: Sequence[Tensor]) -> None:
        """Write an entry, whole or not at all.

        Args:
            key: Its content address.
            tensors: At least one; stored as they are, on the CPU.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        document = save({str(index): tensor.detach().cpu().contiguous() for index, tensor in enumerate(tensors)})
        write_bytes_atomic(self.path(key), hashlib.sha256(document).digest() + document, sync=False)

    def get(self, key: str) -> list[Tensor] | None:
        """Return an entry's tensors, None where there is no entry or a damaged one, which is removed."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        tensors = _checked(content)
        if tensors is None:
            log.warning("The cache entry %s is damaged and is made anew.", path)
            path.unlink(missing_ok=True)
            return None
        # Eviction goes by the time of the last use.
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
        return [tensors[str(index)] for index in range(len(tensors))]

    def is_sound(self, key: str) -> bool:
        """Whether an entry is there and undamaged; a damaged one is removed."""
        return key in self and self.get(key) is not None

    def size(self) -> CacheSize:
        """Count the entries and their bytes."""
        sizes = [status.st_size for _, status in self._entries()]
        return CacheSize(len(sizes), sum(sizes))

    def prune(self, max_gb: float) -> CacheSize:
        """Remove the entries that were not used for longest until the rest fits.

        Args:
            max_gb: Size to stay under, in 10^9 bytes; 0 empties the cache.

        Returns:
            What was removed.
        """
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime)
        total = sum(status.st_size for _, status in entries)
        removed, freed = 0, 0
        for path, status in entries:
            if total - freed <= max_gb * GIGABYTE:
                break
            path.unlink(missing_ok=True)
            removed, freed = removed + 1, freed + status.st_size
        return CacheSize(removed, freed)

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob(f"??/*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process pruned it
                yield path, path.stat()


def _checked(content: bytes) -> Mapping[str, Tensor] | None:
    digest, document = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(document).digest() != digest:
        return None
    try:
        tensors: dict[str, Tensor] = load(document)
    except SafetensorError:  # written by something else under our name
        return None
    return {name: torch.as_tensor(tensor) for name, tensor in tensors.items()}


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
