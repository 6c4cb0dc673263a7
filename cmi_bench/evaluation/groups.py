"""The groups of the detail table: which rows of a dataset belong together."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cmi_bench.config import MetricSettings
from cmi_bench.data.audio_info import Durations, row_seconds
from cmi_bench.data.datasets import ALL_CATEGORIES, Dataset, Grouping, Raw, Task, TaskGrouping
from cmi_bench.evaluation.reading import ResultRow, as_numbers, read_rows
from cmi_bench.evaluation.resampling import Ids


class Group(NamedTuple):
    """Some rows of a dataset."""

    key: str
    """What the rows have in common: the table's `group_key`."""
    value: str
    members: Ids
    """[n] positions among the dataset's rows, rising."""
    ref_category: str | None = None
    """For confidence: "no_ref", "ref" or "all"."""


GroupOfTask = tuple[Task, Group]


MOST_GROUPS = 1000
"""Of one grouping, those with the most rows; nobody reads more, and each is measured."""


class Labels:
    """The labels of rows, each text kept once; four bytes of each row."""

    def __init__(self) -> None:
        self._codes = array("i")
        self._code_of: dict[str | None, int] = {None: -1}

    def add(self, label: str | None) -> None:
        """Take the next row's label; None for a row in no group."""
        self._codes.append(self._code_of.setdefault(label, len(self._code_of) - 1))

    def positions(self) -> dict[str, Ids]:
        """Return, by label, the positions of the rows that have it, rising."""
        codes = as_numbers(self._codes)
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes + 1, minlength=len(self._code_of)))
        return {label: order[ends[code] : ends[code + 1]] for label, code in self._code_of.items() if label is not None}

    def groups(self, key: str, values: Sequence[str] = ()) -> list[Group]:
        """Return the groups of rows with the same label.

        Args:
            key: The table's `group_key`.
            values: The labels in the table's order, with rows or without; empty for those there are, in alphabetical
                order.
        """
        positions = self.positions()
        nothing = np.empty(0, dtype=np.intp)
        largest = sorted(positions, key=lambda name: (-positions[name].size, name))[:MOST_GROUPS]
        return [Group(key, name, positions.get(name, nothing)) for name in values or sorted(largest)]

    @property
    def count(self) -> int:
        """How many different labels there are."""
        return len(self._code_of) - 1


class GroupReader:
    """Reads of a dataset's rows which groups they are in; not the durations."""

    def __init__(self, dataset: Dataset, settings: MetricSettings) -> None:
        """Choose groupings.

        Args:
            dataset: Whose rows they are.
            settings: Which of its groupings are made.
        """
        self._parts = [
            (_Grouped if isinstance(grouping, Grouping) else _GroupedByTask)(grouping, dataset.tasks)  # type: ignore[arg-type] # each has its own kind
            for grouping in dataset.groupings
            if getattr(settings, grouping.switch)
        ]

    def take(self, row: ResultRow) -> None:
        """Look at a row."""
        for part in self._parts:
            part.add(row.raw)

    @property
    def notes(self) -> list[str]:
        """Groups that are left out, in sentences."""
        return [note for part in self._parts for note in part.notes]

    def groups(self) -> Iterator[GroupOfTask]:
        """Yield the groups with the task each is for, in the public table's order."""
        for part in self._parts:
            yield from part.groups()


class _Grouped:
    def __init__(self, grouping: Grouping, tasks: Sequence[Task]) -> None:
        self._grouping = grouping
        self._tasks = tasks
        self._labels = Labels()

    def add(self, raw: Raw) -> None:
        self._labels.add(self._grouping.label(raw))

    @property
    def notes(self) -> list[str]:
        if (count := self._labels.count) <= MOST_GROUPS or self._grouping.values:
            return []
        return [f"Groups by {self._grouping.key}: the {MOST_GROUPS:,} with the most rows, of {count:,}."]

    def groups(self) -> Iterator[GroupOfTask]:
        made = self._labels.groups(self._grouping.key, self._grouping.values)
        return ((task, group) for group in made for task in self._tasks)


class _GroupedByTask:
    notes: Sequence[str] = ()

    def __init__(self, grouping: TaskGrouping, tasks: Sequence[Task]) -> None:
        self._grouping = grouping
        self._labels = {task: Labels() for task in tasks}
        self._categories = Labels()

    def add(self, raw: Raw) -> None:
        for task, labels in self._labels.items():
            labels.add(self._grouping.label(raw, task))
        self._categories.add(self._grouping.category(raw))

    def groups(self) -> Iterator[GroupOfTask]:
        categories = self._categories.positions()
        for task, labels in self._labels.items():
            made = labels.groups(self._grouping.key)
            for group in made:
                for category in self._grouping.categories:
                    members = np.intersect1d(group.members, categories.get(category, ()), assume_unique=True)
                    if members.size:
                        yield task, group._replace(members=members.astype(np.intp), ref_category=category)
            for group in made:
                yield task, group._replace(ref_category=ALL_CATEGORIES)


def task_groups(dataset: Dataset, rows: Iterable[ResultRow], settings: MetricSettings) -> Iterator[GroupOfTask]:
    """Yield a dataset's groups with the task each is for, in the public table's order; not the durations."""
    reader = GroupReader(dataset, settings)
    read_rows(rows, reader)
    return reader.groups()


DURATION_KEY = "duration_bin"


def duration_bin(seconds: float | None, edges: Sequence[float]) -> str | None:
    """Return the label of a duration's bin, e.g. "[10,30)"; None outside of all bins or without a duration."""
    if seconds is None or not edges[0] <= seconds <= edges[-1]:
        return None
    last = len(edges) - 2
    index = min(int(np.searchsorted(edges, seconds, side="right")) - 1, last)
    return f"[{edges[index]:g},{edges[index + 1]:g}" + ("]" if index == last else ")")


class DurationCounts(NamedTuple):
    """How many rows have a duration."""

    rows: int
    unknown: int
    outside: int
    """Rows outside of all bins."""


class DurationReader:
    """Reads of a dataset's rows how long their clips are."""

    def __init__(self, durations: Durations, edges: Sequence[float]) -> None:
        """Take note of the bins.

        Args:
            durations: Knows how long clips are.
            edges: In seconds, rising.
        """
        self._durations = durations
        self._edges = edges
        self._labels = Labels()
        self.counts = DurationCounts(0, 0, 0)

    def take(self, row: ResultRow) -> None:
        """Look at a row."""
        seconds = row_seconds(row.raw, self._durations)
        label = duration_bin(seconds, self._edges)
        self._labels.add(label)
        rows, unknown, outside = self.counts
        self.counts = DurationCounts(
            rows + 1, unknown + (seconds is None), outside + (label is None and seconds is not None)
        )

    def groups(self) -> dict[str, Group]:
        """Return the groups by bin."""
        return {group.value: group for group in self._labels.groups(DURATION_KEY)}
