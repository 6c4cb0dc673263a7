"""Which content addresses a run has met: eight bytes for each, where a set of strings takes two hundred."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

DIGITS = 16
"""Of an address, a SHA-256 in hexadecimal, these make eight bytes: among a million, two are equal once in 10^7 runs."""


class KeySet:
    """A set of content addresses, for counting."""

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.uint64]] = []
        """Sorted and without what another one has, each at least twice as long as the next."""

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Add addresses, and return for each whether it is new: met neither before nor earlier among these."""
        numbers = _numbers(keys)
        distinct, first = np.unique(numbers, return_index=True)
        is_new = ~self._contain(distinct)
        self._runs.append(distinct[is_new])
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs[-2:] = [np.sort(np.concatenate(self._runs[-2:]))]
        found = np.zeros(len(numbers), dtype=np.bool_)
        found[first[is_new]] = True
        return found

    def contain(self, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return for each address whether it was added."""
        return self._contain(_numbers(keys))

    def _contain(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(numbers), dtype=np.bool_)
        for run in self._runs:
            if len(run):
                found |= run[np.searchsorted(run, numbers).clip(max=len(run) - 1)] == numbers
        return found


def _numbers(keys: Sequence[str]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(bytes.fromhex("".join(key[:DIGITS] for key in keys)), dtype=">u8").astype(np.uint64)
