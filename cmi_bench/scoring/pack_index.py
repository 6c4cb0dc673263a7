"""Where the entries of packs are: an index of fixed-size records, on disk 32 bytes an entry and in memory 36.

In memory the records lie in a few runs sorted by key, as in a log-structured merge tree (O'Neil et al. 1996, "The
Log-Structured Merge-Tree"): an index of millions costs no dictionary of Python objects, and takes new records in
without being sorted as a whole.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("time", "<u8"), ("offset", "<u4"), ("length", "<u4")])
"""One entry in an index file: the BLAKE2b of its key in two halves, when it was written (nanoseconds of the epoch),
and the bytes it has in the pack. A length of 0 says that the key has no entry any more."""
PLACE = np.dtype([("low", "<u8"), ("time", "<u8"), ("offset", "<u4"), ("length", "<u4"), ("pack", "<i4")])
"""The same in memory, with the number of the pack; the high halves are apart, as they are searched."""
LATE = 1 << 14
"""Records that came one by one and are kept in a dictionary, before they make a run."""

Places = NDArray[Any]
"""An array of `PLACE`; of a key that is not there, `time` and `length` are 0."""


def hash_keys(keys: Sequence[str]) -> NDArray[np.uint64]:
    """Return the halves of each key's BLAKE2b, 16 bytes of it: an array [keys, 2].

    Two keys with the same first half would hide one another, of which one is made anew each time: among a million
    keys there is such a pair with a probability of 3e-8.
    """
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


class _Run(NamedTuple):
    """Records sorted by key, each key once."""

    high: NDArray[np.uint64]
    places: Places


class PackIndex:
    """The newest record of each key."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._late: dict[bytes, tuple[int, int, int, int, int]] = {}

    def add(self, records: NDArray[Any], packs: int | NDArray[Any]) -> None:
        """Take in records, in any order.

        Args:
            records: Of the type `RECORD`.
            packs: The number of their pack, or of each one's.
        """
        places = np.empty(len(records), PLACE)
        for name in ("low", "time", "offset", "length"):
            places[name] = records[name]
        places["pack"] = packs
        if len(records) >= LATE // 4:
            self._push(np.ascontiguousarray(records["high"]), places)
            return
        halves = np.stack([records["high"], records["low"]], axis=1)
        for key, place in zip(_as_bytes(halves), _as_tuples(places), strict=True):
            known = self._late.get(key)
            if known is None or known[1] <= place[1]:
                self._late[key] = place
        if len(self._late) >= LATE:
            self._settle()

    def newest(self, hashed: NDArray[np.uint64]) -> Places:
        """Return where keys are; of one that is not there, or not any more, the length is 0.

        Args:
            hashed: As of `hash_keys`.
        """
        found = np.zeros(len(hashed), PLACE)
        high, low = np.ascontiguousarray(hashed[:, 0]), hashed[:, 1]
        for run in self._runs:
            at = np.minimum(np.searchsorted(run.high, high), len(run.high) - 1)
            places = run.places[at]
            hits = (run.high[at] == high) & (places["low"] == low) & (places["time"] >= found["time"])
            found[hits] = places[hits]
        if self._late:
            for number, key in enumerate(_as_bytes(hashed)):
                late = self._late.get(key)
                if late is not None and late[1] >= found[number]["time"]:
                    found[number] = late
        return found

    def drop(self, pack: int) -> None:
        """Forget what is in a pack."""
        self._late = {key: place for key, place in self._late.items() if place[4] != pack}
        kept = [(run, run.places["pack"] != pack) for run in self._runs]
        self._runs = [_Run(run.high[keep], run.places[keep]) for run, keep in kept if keep.any()]

    def _settle(self) -> None:
        high = np.frombuffer(b"".join(self._late), "<u8")[::2]
        places = np.array(list(self._late.values()), PLACE)
        self._late = {}
        self._push(np.ascontiguousarray(high), places)

    def _push(self, high: NDArray[np.uint64], places: Places) -> None:
        """Add a run, and merge runs so that each has at least twice the records of the next one."""
        self._runs.append(_sorted(high, places))
        while len(self._runs) > 1 and len(self._runs[-2].high) < 2 * len(self._runs[-1].high):
            one, other = self._runs.pop(), self._runs.pop()
            merged = np.concatenate([other.high, one.high]), np.concatenate([other.places, one.places])
            self._runs.append(_sorted(*merged))


def _as_bytes(hashed: NDArray[np.uint64]) -> list[bytes]:
    keys: list[bytes] = np.ascontiguousarray(hashed).view("V16").ravel().tolist()
    return keys


def _as_tuples(places: Places) -> Iterator[tuple[int, int, int, int, int]]:
    return zip(*(places[name].tolist() for name in PLACE.names or ()), strict=True)


def _sorted(high: NDArray[np.uint64], places: Places) -> _Run:
    """Return records by key, of each key the newest."""
    order = np.argsort(high, kind="stable")
    high, places = high[order], places[order]
    same = high[1:] == high[:-1]
    if not same.any():
        return _Run(high, places)
    # Keys that are there more than once are few: only these are sorted by the rest as well.
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    places[tied] = places[tied][np.lexsort((places["time"][tied], places["low"][tied], high[tied]))]
    last = np.append(~same | (places["low"][1:] != places["low"][:-1]), True)
    return _Run(high[last], places[last])
