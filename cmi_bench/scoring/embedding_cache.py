"""Embeddings on disk, by what was embedded and by which encoder.

Processes that fill one cache at the same time share the work: each begins elsewhere (`claim_start`) and passes over
what is there. Nobody waits for another; at most the batch that two are at in the same moment is encoded twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load, save
from torch import Tensor

from cmi_bench.config import CacheConfig
from cmi_bench.scoring.embedding_items import COMPACT
from cmi_bench.scoring.packs import PackStore, StoreSize, prune
from cmi_bench.utils.addresses import Place, below, on_this_machine, place_of

GIGABYTE = 10**9
OPEN_CACHES = 2
"""How many caches a process keeps open."""


class EmbeddingCache:
    """Content-addressed entries, each a list of tensors: a safetensors document in a `PackStore`.

    What training reads, pooled and small, lies in a store of its own, `pooled`. An entry is checked whenever it is
    read: one that is damaged is as none, and made anew. Any number of processes may use one cache.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._whole, self._pooled = PackStore(place), PackStore(below(place, "pooled"))

    @property
    def folder(self) -> Path:
        """Where on this machine entries are written, if only until they are sent to an address."""
        return on_this_machine(self.place)

    def __str__(self) -> str:
        return str(self._whole)

    def __contains__(self, key: str) -> bool:
        return key in self._store(key)

    def contains_many(self, keys: Iterable[str]) -> set[str]:
        """Return which of some keys have an entry."""
        return {key for store, own in self._by_store(keys) for key in store.contains_many(own)}

    def put(self, key: str, tensors: Sequence[Tensor]) -> int:
        """Write an entry, whole or not at all.

        Args:
            key: Its content address.
            tensors: At least one; stored as they are, on the CPU.

        Returns:
            Its size in bytes.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        document = save({str(index): tensor.detach().cpu().contiguous() for index, tensor in enumerate(tensors)})
        return self._store(key).put_many({key: document})

    def get(self, key: str) -> list[Tensor] | None:
        """Return an entry's tensors, None where there is no entry or a damaged one."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, list[Tensor]]:
        """Return the tensors of the entries that are there of some keys.

        Raises:
            RunError: An address cannot be reached.
        """
        found = {}
        for store, own in self._by_store(keys):
            for key, document in store.get_many(own).items():
                tensors = load(document)
                found[key] = [torch.as_tensor(tensors[str(index)]) for index in range(len(tensors))]
        return found

    def discard(self, key: str) -> None:
        """Forget an entry, so that it is made anew.

        Raises:
            OSError: As of `put`.
        """
        self._store(key).discard([key])

    def size(self, *, compact: bool | None = None) -> StoreSize:
        """Count the entries and their bytes.

        Args:
            compact: Only of what training reads, or only of what scoring reads; None for all.
        """
        counted = [(self._whole, False), (self._pooled, True)]
        sizes = [store.size() for store, is_compact in counted if compact in (None, is_compact)]
        return StoreSize(*map(sum, zip(*sizes, strict=True)))

    def size_of(self, keys: Iterable[str]) -> int:
        """Return the bytes of some entries."""
        return sum(sum(store.sizes_of(own)) for store, own in self._by_store(keys))

    def prune(self, max_gb: float) -> StoreSize:
        """Remove packs of entries that were not used for longest until the rest fits; see `packs.prune`.

        Args:
            max_gb: Size to stay under, in 10^9 bytes; 0 empties the cache.

        Returns:
            What was removed.
        """
        return prune([self._whole, self._pooled], max_gb * GIGABYTE)

    def keep_within(self, max_gb: float) -> StoreSize:
        """Prune a cache on this machine; what many machines use at an address, only people prune (`task=cache`)."""
        return self.prune(max_gb) if isinstance(self.place, Path) else StoreSize(0, 0)

    def release(self) -> None:
        """Let other processes go on in what was written to; see `PackStore.release`."""
        self._whole.release()
        self._pooled.release()

    def close(self) -> None:
        """At an address, send what waits as well; see `PackStore.close`."""
        self._whole.close()
        self._pooled.close()

    def _store(self, key: str) -> PackStore:
        return self._pooled if key.endswith(COMPACT) else self._whole

    def _by_store(self, keys: Iterable[str]) -> list[tuple[PackStore, list[str]]]:
        asked: dict[bool, list[str]] = {False: [], True: []}
        for key in dict.fromkeys(keys):
            asked[key.endswith(COMPACT)].append(key)
        return [(store, own) for store, own in ((self._whole, asked[False]), (self._pooled, asked[True])) if own]


@lru_cache(OPEN_CACHES)
def open_embeddings(place: Place) -> EmbeddingCache:
    """Return the cache of a place that this process keeps open: what is in it is looked for once, not for each part."""
    return EmbeddingCache(place)


def prune_after_run(cache: CacheConfig) -> StoreSize:
    """Keep the embeddings of a run's cache within their bound; see `EmbeddingCache.keep_within`."""
    if cache.dir is None:
        return StoreSize(0, 0)
    return EmbeddingCache(below(place_of(cache.dir), "embeddings")).keep_within(cache.max_gb)


MAX_FILLERS = 64


@contextmanager
def claim_start(folder: Path) -> Iterator[float]:
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
