"""A store of byte strings by key, made for millions of entries and many processes: embeddings and scores lie in it.

It is log-structured, as Bitcask is (Sheehy and Smith 2010, "Bitcask: A Log-Structured Hash Table for Fast Key/Value
Data"): a writer only ever appends, to a data file of its own, and an index says where each entry is. Unlike there, the
index in memory is of NumPy arrays, a key is known by its hash, and entries go by whole packs, those that were not used
for longest first.

The store is a local folder, where an entry is seen by all processes as soon as it is written, or an address of fsspec,
where entries are gathered on this machine and sent as packs (`pack_address`).
"""

import concurrent.futures.thread  # noqa: F401  Its hook at the end of a process is to come after ours.
import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.scoring.pack_address import PackAddress, Shipment
from cmi_bench.scoring.pack_folder import PackFacts, PackFolder, PackWriter
from cmi_bench.scoring.pack_index import PLACE, RECORD, Places, hash_keys
from cmi_bench.scoring.pack_reader import PackReader
from cmi_bench.utils.addresses import Place, on_this_machine

log = logging.getLogger(__name__)

FOLDER_PACK, ADDRESS_PACK = 256 * 2**20, 64 * 2**20
"""Bytes after which a pack is full."""
DIGEST_BYTES = 32
"""An entry begins with the SHA-256 of its key and content."""


class StoreSize(NamedTuple):
    """What a store holds."""

    entries: int
    """As they were written: one that was written again counts twice until its first pack goes."""
    bytes: int


class PackStore:
    """Byte strings by key.

    An entry is checked when it is read: one that is damaged or torn is as one that is not there, and may be put again.
    Of a key that was put twice, the last counts. Threads may share a store; processes that are forked, or that a store
    is sent to, find what was there and write to packs of their own.
    """

    def __init__(self, place: Place, *, pack_bytes: int | None = None) -> None:
        """Say where; nothing is read or made by that.

        Args:
            place: A local folder, or an address of fsspec.
            pack_bytes: A pack that has so many takes no further entry; None for what suits the place.
        """
        self.place = place
        self.pack_bytes = pack_bytes or (FOLDER_PACK if isinstance(place, Path) else ADDRESS_PACK)
        self._state: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_state": None}

    def __contains__(self, key: str) -> bool:
        return bool(self.contains_many([key]))

    def contains_many(self, keys: Iterable[str]) -> set[str]:
        """Return which of some keys have an entry; whether it is whole, only reading it tells."""
        asked = list(keys)
        with self._opened() as store:
            places, _ = store.locate(hash_keys(asked))
        return {key for key, length in zip(asked, places["length"].tolist(), strict=True) if length}

    def sizes_of(self, keys: Sequence[str]) -> list[int]:
        """Return the bytes of entries, 0 of one that is not there."""
        with self._opened() as store:
            places, _ = store.locate(hash_keys(keys))
        sizes: list[int] = places["length"].tolist()
        return sizes

    def get(self, key: str) -> bytes | None:
        """Return an entry, None where there is none."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the entries that are there of some keys, in their order.

        Raises:
            RunError: An address cannot be reached.
        """
        asked = list(dict.fromkeys(keys))
        found, damaged, gone = self._read(asked)
        if gone:  # packs that were removed, or sent, since they were looked for
            with self._opened() as store:
                for reader in store.readers:
                    reader.look_again(at_once=True)
            again = self._read(gone)
            found, damaged = found | again[0], damaged + again[1] + again[2]
        if damaged:
            log.warning("%d entries of %s are damaged, and are made anew.", len(damaged), self)
            with contextlib.suppress(OSError):  # a folder that can only be read
                self.discard(damaged)
        return {key: found[key] for key in asked if key in found}

    def put_many(self, entries: Mapping[str, bytes]) -> int:
        """Add entries and hand them to the operating system: they outlive this process.

        Returns:
            The bytes that they take, with their records.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        return self._append({key: _digest(key, content) + content for key, content in entries.items()})

    def discard(self, keys: Iterable[str]) -> None:
        """Forget entries; their bytes go with their packs.

        Raises:
            OSError: As of `put_many`.
        """
        self._append(dict.fromkeys(keys, b""))

    def size(self) -> StoreSize:
        """Count entries and bytes, from the sizes of files."""
        with self._opened() as store:
            facts = [one for reader in store.readers for one in reader.source.facts()]
        return StoreSize(sum(one.entries for one in facts), sum(one.bytes for one in facts))

    def prune(self, max_bytes: float) -> StoreSize:
        """Remove the packs that were not used for longest until the rest fits; see `prune`."""
        return prune([self], max_bytes)

    def packs(self) -> list[PackFacts]:
        """Return what is known of the packs; what waits to be sent to an address is sent first."""
        self.close()
        with self._opened() as store:
            return store.home.source.facts()

    def remove(self, pack: str) -> bool:
        """Remove a pack, unless another process is writing to it; return whether it is gone."""
        with self._opened() as store:
            if not store.home.source.remove(pack):
                return False
            store.home.drop(pack)
        return True

    def clear(self) -> None:
        """Forget everything, also what other processes are writing to: they go on in new packs."""
        with self._opened() as store:
            store.writer.close()
            for reader in store.readers:
                for facts in reader.source.facts():
                    reader.source.remove(facts.name, force=True)
                    reader.drop(facts.name)

    def release(self) -> None:
        """Let other processes go on in, or remove, the pack that was written to; what is known stays in memory."""
        with self._opened() as store:
            store.writer.close()

    def close(self) -> None:
        """Let go of the pack that was written to; at an address, send what waits, as at a process's end."""
        if self._state is not None:
            self._state.close()

    def __str__(self) -> str:
        with self._opened() as store:
            return str(store.home.source)

    def _append(self, entries: Mapping[str, bytes]) -> int:
        if not entries:
            return 0
        hashed = hash_keys(list(entries))
        records = np.zeros(len(entries), RECORD)
        records["high"], records["low"] = hashed[:, 0], hashed[:, 1]
        with self._opened() as store:
            # After all that is known of a key, also where another machine's clock is ahead.
            known = store.known(hashed)
            records["time"] = np.maximum(known["time"] + np.uint64(1), np.uint64(time.time_ns()))
            for written in store.writer.append(records, list(entries.values())):
                store.readers[0].take(written)
        store.send_if_due(self.pack_bytes)
        return sum(map(len, entries.values())) + records.nbytes

    def _read(self, keys: Sequence[str]) -> tuple[dict[str, bytes], list[str], list[str]]:
        """Return entries, and the keys of those that are damaged, and of those whose packs are gone."""
        found, damaged, gone = dict[str, bytes](), list[str](), list[str]()
        with self._opened() as store:
            places, reader_of = store.locate(hash_keys(keys))
        for number, reader in enumerate(store.readers):
            mine = np.flatnonzero((reader_of == number) & (places["length"] > 0))
            for place, content in reader.read(places[mine]):
                key = keys[int(mine[place])]
                if content is None:
                    gone.append(key)
                elif _digest(key, memoryview(content)[DIGEST_BYTES:]) == content[:DIGEST_BYTES]:
                    found[key] = content[DIGEST_BYTES:]
                else:
                    damaged.append(key)
        return found, damaged, gone

    @contextlib.contextmanager
    def _opened(self) -> "Iterator[_Opened]":
        """Yield what this process has open, for this thread alone."""
        if self._state is None or self._state.process != os.getpid():
            self._state = _Opened(self.place, self.pack_bytes)
        with self._state.lock:
            yield self._state


def prune(stores: Sequence[PackStore], max_bytes: float) -> StoreSize:
    """Remove the packs of stores that were not used for longest until the rest fits.

    A pack that another process is writing to stays. At an address nothing says when a pack was used: there the oldest
    go first.

    Args:
        stores: Counted together.
        max_bytes: Size to stay under; 0 empties them.

    Returns:
        What was removed.
    """
    packs = sorted(((pack, store) for store in stores for pack in store.packs()), key=lambda one: one[0].used)
    total = sum(pack.bytes for pack, _ in packs)
    removed = []
    for pack, store in packs:
        if total <= max_bytes:
            break
        if store.remove(pack.name):
            removed.append(pack)
            total -= pack.bytes
    return StoreSize(sum(pack.entries for pack in removed), sum(pack.bytes for pack in removed))


def _digest(key: str, content: bytes | memoryview) -> bytes:
    whole = hashlib.sha256(key.encode())
    whole.update(content)
    return whole.digest()


class _Opened:
    """What a process has open of a store."""

    def __init__(self, place: Place, pack_bytes: int) -> None:
        self.process = os.getpid()
        self.lock = threading.RLock()
        folder = PackFolder(on_this_machine(place))
        self.writer = PackWriter(folder.folder, pack_bytes)
        self.readers = [PackReader(folder)]
        self.shipment: Shipment | None = None
        if isinstance(place, str):
            address = PackAddress(place)
            self.readers.append(PackReader(address))
            self.shipment = Shipment(folder, address)

    @property
    def home(self) -> PackReader:
        """The reader of the place itself, and not of what waits to be sent there."""
        return self.readers[-1]

    def known(self, hashed: NDArray[np.uint64]) -> Places:
        """Return what is known of keys, without a look at what others may have written meanwhile."""
        for reader in self.readers:
            if reader.is_stale:
                reader.look_again()
        return self._newest(hashed)[0]

    def locate(self, hashed: NDArray[np.uint64]) -> tuple[Places, NDArray[np.int8]]:
        """Return where entries are, and the number of the reader that has each."""
        for reader in self.readers:
            if reader.is_stale:
                reader.look_again()
        places, reader_of = self._newest(hashed)
        missing = np.flatnonzero(places["length"] == 0)
        looked = [reader.look_again() for reader in self.readers] if len(missing) else []
        if any(looked):
            places[missing], reader_of[missing] = self._newest(hashed[missing])
        return places, reader_of

    def _newest(self, hashed: NDArray[np.uint64]) -> tuple[Places, NDArray[np.int8]]:
        places, reader_of = np.zeros(len(hashed), PLACE), np.zeros(len(hashed), np.int8)
        for number, reader in enumerate(self.readers):
            found = reader.newest(hashed)
            newer = found["time"] > places["time"]
            places[newer], reader_of[newer] = found[newer], number
        return places, reader_of

    def send_if_due(self, pack_bytes: int) -> None:
        """Send what was written, where it is to be sent and there is enough of it."""
        if self.shipment:
            _UNSENT.add(self)
            if self.shipment.is_due() or self.writer.size >= pack_bytes:
                self.close()

    def close(self) -> None:
        """Let go of the pack, and send what waits; other threads may read and write meanwhile."""
        if self.process != os.getpid():
            return
        with self.lock:
            self.writer.close()
        if self.shipment:
            _UNSENT.discard(self)
            self.shipment.send()


_UNSENT: set[_Opened] = set()
"""What this process has written and not sent."""


def _send_all() -> None:
    for store in list(_UNSENT):
        store.close()


# At the end of a process, as long as there are threads, which file systems look up names with: `concurrent.futures`
# ends its own by this same hook, and `atexit` comes after that.
threading._register_atexit(_send_all)  # type: ignore[attr-defined]
