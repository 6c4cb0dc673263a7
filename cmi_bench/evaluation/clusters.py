"""Which rows depend on each other: those of one prompt, those of one system, or both; and what follows from that.

Rows of a prompt, or clips of a system, are no independent observations. An interval over prompts speaks of other
prompts for the same systems, one over systems of other systems for the same prompts.
"""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import Clustering
from cmi_bench.data.datasets import Dataset, Raw
from cmi_bench.data.fields import is_missing
from cmi_bench.evaluation.reading import as_numbers
from cmi_bench.evaluation.resampling import Floats, Ids
from cmi_bench.utils.files import text_number

NOBODY = -1
"""In the systems of rows: not known, or there is no second clip."""


class Numbering:
    """Numbers for names: equal ones have the same; memory holds eight bytes of each."""

    def __init__(self) -> None:
        self._names = array("q")
        self._missing = array("b")

    def add(self, name: Any) -> None:
        """Take the next name; one that is missing is equal to none, and has no number."""
        is_nothing = is_missing(name)
        self._missing.append(is_nothing)
        self._names.append(len(self._names) if is_nothing else text_number(str(name).strip()))

    def numbers(self) -> Ids:
        """Return a number for each name [N] from 0, in the order of first appearance; `NOBODY` for missing ones."""
        names, known = as_numbers(self._names), np.flatnonzero(as_numbers(self._missing) == 0)
        found = np.full(names.size, NOBODY, dtype=np.intp)
        found[known] = in_order(names[known])
        return found


def in_order(values: NDArray[np.int64]) -> Ids:
    """Number different values [n] from 0, in the order in which they first appear."""
    if (known := _few(values)) is None:
        _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        number = np.empty(first.size, dtype=np.intp)
        number[np.argsort(first)] = np.arange(first.size)
        return number[inverse]
    # Block by block, as sorting long arrays takes several times their memory.
    order = np.argsort(known)
    found = np.empty(values.size, dtype=np.intp)
    for start in range(0, values.size, BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = order[np.searchsorted(known, values[part], sorter=order)]
    return found


BLOCK = 1 << 16
FEW_NAMES = 1 << 14


def _few(values: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the different values in the order in which they first appear; None where they are many."""
    known = values[:0]
    for start in range(0, values.size, BLOCK):
        block, first = np.unique(values[start : start + BLOCK], return_index=True)
        in_place = block[np.argsort(first)]
        known = np.concatenate([known, in_place[~np.isin(in_place, known)]])
        if known.size > FEW_NAMES:
            return None
    return known


class PromptReader:
    """Reads of each row its prompt; see `prompt_ids`."""

    def __init__(self, dataset: Dataset) -> None:
        self._prompt_of = dataset.prompt_of
        self._numbering = Numbering()

    def add(self, raw: Raw) -> None:
        """Take the next row."""
        self._numbering.add(self._prompt_of(raw))

    def ids(self) -> Ids:
        """Return [N] as `prompt_ids`."""
        numbers = self._numbering.numbers()
        missing = np.flatnonzero(numbers == NOBODY)
        if not missing.size:
            return numbers
        # A row without a prompt has one that nobody else has.
        numbers[missing] = numbers.max() + 1 + np.arange(missing.size)
        return in_order(numbers)


class SystemReader:
    """Reads of each row its systems; see `system_ids`."""

    def __init__(self, dataset: Dataset) -> None:
        self._systems_of = dataset.systems_of
        self._width = 2 if dataset.is_paired else 1
        self._numbering = Numbering()

    def add(self, raw: Raw) -> None:
        """Take the next row."""
        for system in self._systems_of(raw)[: self._width]:
            self._numbering.add(system)

    def ids(self) -> Ids:
        """Return [N, 1] or [N, 2] as `system_ids`."""
        return self._numbering.numbers().reshape(-1, self._width)


def prompt_ids(raws: Iterable[Raw], dataset: Dataset) -> Ids:
    """Return a number for each row: the same for rows with the same prompt, its own for a row without one.

    Args:
        raws: N rows of one dataset, as they stand in the file.
        dataset: Says where a row's prompt is.

    Returns:
        [N] from 0, in the order of first appearance.
    """
    reader = PromptReader(dataset)
    for raw in raws:
        reader.add(raw)
    return reader.ids()


def system_ids(raws: Iterable[Raw], dataset: Dataset) -> Ids:
    """Return the systems that made the clips of each row, as numbers.

    Args:
        raws: N rows of one dataset, as they stand in the file.
        dataset: Says where a row names its systems.

    Returns:
        [N, 1] for single clips, [N, 2] for pairs; `NOBODY` where the row does not say.
    """
    reader = SystemReader(dataset)
    for raw in raws:
        reader.add(raw)
    return reader.ids()


@dataclass(frozen=True, eq=False)
class Membership:
    """Which rows belong to which of G clusters; a pair belongs to those of both its systems."""

    ids: Ids
    """[M] from 0 to G-1, each of them there."""
    rows: Ids
    """[M] positions of rows."""

    @property
    def count(self) -> int:
        """Return G."""
        return int(self.ids.max(initial=-1)) + 1

    def take(self, chosen: Ids) -> "Membership":
        """Return which of some of the rows, whose positions are given [m], belong to which clusters."""
        place = np.full(int(self.rows.max(initial=-1)) + 1, NOBODY, dtype=np.intp)
        place[chosen] = np.arange(chosen.size)
        there = place[self.rows] != NOBODY
        return Membership(_dense(self.ids[there]), place[self.rows[there]])

    def sums(self, values: Floats) -> Floats:
        """Add up the rows' values [n] to [G]."""
        return np.bincount(self.ids, values[self.rows], minlength=self.count).astype(np.float64)


class Kind(NamedTuple):
    """One reason for rows to depend on each other."""

    counted: Membership
    twice: Membership | None = None
    """Rows that `counted` has in two clusters: pairs of the same two systems."""

    def changed(self, change: Callable[[Membership], Membership]) -> "Kind":
        """Return the same with other clusters, made of each of its own."""
        return Kind(change(self.counted), None if self.twice is None else change(self.twice))

    def variance(self, of_membership: Callable[[Membership], float]) -> float:
        """Return a statistic's variance, as if this were the only reason.

        Args:
            of_membership: The variance where the clusters given are independent.
        """
        return of_membership(self.counted) - (of_membership(self.twice) if self.twice is not None else 0.0)


@dataclass(frozen=True)
class Clusters:
    """The clusters of some rows, after `metrics.cluster`; n rows."""

    unit: str
    """What is taken for independent: "prompts", "rows", "systems", "prompts and systems"."""
    count: int
    """How many there are; of prompts and systems the fewer."""
    kinds: tuple[Kind, ...]
    """The kind with the fewest clusters first; none where the rows do not say what would be needed."""
    shared: Kind | None = None
    """With two kinds: the rows that are alike in both."""
    reason: str = ""
    """Why there are no kinds."""

    def take(self, chosen: Ids) -> "Clusters":
        """Return the clusters of some of the rows, whose positions are given [m]."""
        kinds = tuple(kind.changed(lambda one: one.take(chosen)) for kind in self.kinds)
        shared = None if self.shared is None else self.shared.changed(lambda one: one.take(chosen))
        count = min((kind.counted.count for kind in kinds), default=0)
        return Clusters(self.unit, count, kinds, shared, self.reason)

    @property
    def sizes(self) -> Floats:
        """Rows of each cluster of the kind with the fewest."""
        return np.bincount(self.kinds[0].counted.ids).astype(np.float64)

    def variance(self, of_membership: Callable[[Membership], float]) -> float:
        """Return a statistic's variance; over two kinds at once after Cameron, Gelbach and Miller (2011).

        Args:
            of_membership: The variance where the clusters given are independent.
        """
        parts = [kind.variance(of_membership) for kind in self.kinds]
        shared = self.shared.variance(of_membership) if self.shared is not None else 0.0
        # What is in both is in the sum twice. Subtracting it may leave too little: never less than the larger part.
        return max(sum(parts) - shared, *parts, 0.0)


PROMPTS, ROWS, SYSTEMS, PROMPTS_AND_SYSTEMS = "prompts", "rows", "systems", "prompts and systems"
POPULATION = {
    PROMPTS: "other prompts, the same systems",
    ROWS: "other rows like these",
    SYSTEMS: "other systems, the same prompts",
    PROMPTS_AND_SYSTEMS: "other prompts and other systems",
}
"""What an interval over clusters speaks of, by their unit."""


def clusters_of(prompts: Ids, systems: Ids, clustering: Clustering) -> Clusters:
    """Return the clusters of some rows.

    Args:
        prompts: [n] from `prompt_ids`, of any choice of rows.
        systems: [n, 1] or [n, 2] from `system_ids`.
        clustering: Which rows are taken to depend on each other. Where no row names its system, "both" is "prompt".
    """
    by_prompt = _partition(prompts)
    if clustering == Clustering.none:
        return Clusters(ROWS, prompts.size, (Kind(_partition(np.arange(prompts.size))),))
    are_known = bool((systems != NOBODY).any())
    if clustering == Clustering.prompt or (clustering == Clustering.both and not are_known):
        unit = PROMPTS if by_prompt.count < prompts.size else ROWS
        return Clusters(unit, by_prompt.count, (Kind(by_prompt),))
    if not are_known:
        return Clusters(SYSTEMS, 0, (), reason="the rows do not name their systems")
    by_system = _system_kind(_filled(systems))
    if clustering == Clustering.system:
        return Clusters(SYSTEMS, by_system.counted.count, (by_system,))
    kinds = sorted((Kind(by_prompt), by_system), key=lambda kind: kind.counted.count)
    within = by_system.changed(lambda one: _within(one, by_prompt.ids))
    return Clusters(PROMPTS_AND_SYSTEMS, kinds[0].counted.count, tuple(kinds), shared=within)


def _within(membership: Membership, prompts: Ids) -> Membership:
    """Split clusters by prompt."""
    return Membership(_dense(membership.ids + prompts[membership.rows] * membership.count), membership.rows)


def _partition(ids: Ids) -> Membership:
    return Membership(_dense(ids), np.arange(ids.size))


def _dense(ids: Ids) -> Ids:
    """Number without gaps."""
    if ids.max(initial=0) > 4 * ids.size:
        return np.unique(ids, return_inverse=True)[1].astype(np.intp)
    return (np.cumsum(np.bincount(ids) > 0) - 1)[ids]


def _filled(systems: Ids) -> Ids:
    """Give each unknown system a number of its own."""
    unknown = np.flatnonzero(systems == NOBODY)
    filled = systems.copy()
    filled.reshape(-1)[unknown] = systems.max() + 1 + np.arange(unknown.size)
    return filled


def _system_kind(systems: Ids) -> Kind:
    """Return the clusters by system [n, 1] or [n, 2].

    A pair depends on all pairs that share one of its two systems. Those that share both are counted with each of the
    two, so they are subtracted once (Aronow, Samii and Assenova 2015).
    """
    n, width = systems.shape
    if width == 1:
        return Kind(_partition(systems[:, 0]))
    first, second = systems.T
    of_two = np.flatnonzero(first != second)
    by_system = Membership(_dense(np.concatenate([first, second[of_two]])), np.concatenate([np.arange(n), of_two]))
    if not of_two.size:
        return Kind(by_system)
    pair = np.minimum(first, second)[of_two] * (int(systems.max()) + 1) + np.maximum(first, second)[of_two]
    return Kind(by_system, twice=Membership(_dense(pair), of_two))
