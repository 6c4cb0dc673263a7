"""The groups of the detail table: which rows of a dataset belong together."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import ALL_CATEGORIES, Dataset, Grouping, Task, TaskGrouping
from cmi_bench.evaluation.samples import ResultRow

Rows = Sequence[ResultRow]


class Group(NamedTuple):
    """Some rows of a dataset."""

    key: str
    """What the rows have in common: the table's `group_key`."""
    value: str
    members: NDArray[np.bool_]
    """[N] of the dataset's rows."""
    ref_category: str | None = None
    """For confidence: "no_ref", "ref" or "all"."""


GroupOfTask = tuple[Task, Group]


def task_groups(dataset: Dataset, rows: Rows, settings: MetricSettings) -> Iterator[GroupOfTask]:
    """Yield a dataset's groups with the task each is for, in the public table's order; not the durations."""
    for grouping in dataset.groupings:
        if getattr(settings, grouping.switch):
            if isinstance(grouping, Grouping):
                yield from _groups(grouping, dataset.tasks, rows)
            else:
                yield from _groups_by_task(grouping, dataset.tasks, rows)


def _groups(grouping: Grouping, tasks: Sequence[Task], rows: Rows) -> Iterator[GroupOfTask]:
    labels = [grouping.label(row.raw) for row in rows]
    return ((task, group) for group in groups_by_label(grouping.key, labels, grouping.values) for task in tasks)


def _groups_by_task(grouping: TaskGrouping, tasks: Sequence[Task], rows: Rows) -> Iterator[GroupOfTask]:
    categories = np.array([grouping.category(row.raw) for row in rows], dtype=object)
    for task in tasks:
        groups = groups_by_label(grouping.key, [grouping.label(row.raw, task) for row in rows])
        for group in groups:
            for category in grouping.categories:
                members = group.members & (categories == category)
                if members.any():
                    yield task, group._replace(members=members, ref_category=category)
        for group in groups:
            yield task, group._replace(ref_category=ALL_CATEGORIES)


def groups_by_label(key: str, labels: Sequence[str | None], values: Sequence[str] = ()) -> list[Group]:
    """Return the groups of rows with the same label.

    Args:
        key: The table's `group_key`.
        labels: [N] the label of each row; None for a row in no group.
        values: The labels in the table's order, with rows or without; empty for those there are, in alphabetical order.
    """
    array = np.array(labels, dtype=object)
    names = values or sorted({label for label in labels if label is not None})
    return [Group(key, name, np.asarray(array == name, dtype=np.bool_)) for name in names]


DURATION_KEY = "duration_bin"


def duration_bin(seconds: float | None, edges: Sequence[float]) -> str | None:
    """Return the label of a duration's bin, e.g. "[10,30)"; None outside of all bins or without a duration."""
    if seconds is None or not edges[0] <= seconds <= edges[-1]:
        return None
    last = len(edges) - 2
    index = min(int(np.searchsorted(edges, seconds, side="right")) - 1, last)
    return f"[{edges[index]:g},{edges[index + 1]:g}" + ("]" if index == last else ")")


def duration_groups(labels: Sequence[str | None]) -> dict[str, Group]:
    """Return the groups of a dataset by bin.

    Args:
        labels: [N] from `duration_bin`.
    """
    return {group.value: group for group in groups_by_label(DURATION_KEY, labels)}
