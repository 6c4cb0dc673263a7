"""The groups of the detail table: which rows of a dataset belong together."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data.datasets import (
    CMI_PREF,
    MUSIC_ARENA,
    Dataset,
    PairTask,
    Task,
    condition_of,
    has_lyrics,
    has_reference,
)
from cmi_bench.evaluation.samples import ResultRow, month_of
from cmi_bench.evaluation.settings import MetricSettings

MIDDLE_CONFIDENCE = 3.0
"""Of the scale from 1 to 5."""
NO_REF, REF, ALL = "no_ref", "ref", "all"
INSTRUMENTAL, VOCAL = "instru", "vocal"

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
    for is_wanted, make in GROUPINGS.get(dataset.slug, ()):
        if is_wanted(settings):
            yield from make(dataset.tasks, rows)


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
    return {group.value: group for group in _by_value("duration_bin", labels)}


def confidence_level(value: Any) -> str | None:
    """Return "<3", "=3" or ">3"; None where the annotator gave no number."""
    try:
        confidence = float(value)
    except (TypeError, ValueError):
        return None
    if math.isnan(confidence):
        return None
    sign = "<" if confidence < MIDDLE_CONFIDENCE else ">" if confidence > MIDDLE_CONFIDENCE else "="
    return f"{sign}{MIDDLE_CONFIDENCE:g}"


def _by_value(
    key: str, values: Sequence[str | None], *, shown: Sequence[str] = (), ref_category: str | None = None
) -> list[Group]:
    """One group for each value, in alphabetical order, or for each of `shown`, there or not."""
    array = np.array(values, dtype=object)
    names = shown or sorted({value for value in values if value is not None})
    return [Group(key, name, np.asarray(array == name, dtype=np.bool_), ref_category) for name in names]


def _for_each_task(tasks: Sequence[Task], groups: Sequence[Group]) -> Iterator[GroupOfTask]:
    return ((task, group) for group in groups for task in tasks)


def _by_month(tasks: Sequence[Task], rows: Rows) -> Iterator[GroupOfTask]:
    return _for_each_task(tasks, _by_value("month", [month_of(row.raw) for row in rows]))


def _by_condition(tasks: Sequence[Task], rows: Rows) -> Iterator[GroupOfTask]:
    return _for_each_task(tasks, _by_value("modality", [condition_of(row.raw) for row in rows]))


def _by_reference(tasks: Sequence[Task], rows: Rows) -> Iterator[GroupOfTask]:
    names = {True: REF, False: NO_REF, None: None}
    values = [names[has_reference(condition_of(row.raw))] for row in rows]
    return _for_each_task(tasks, _by_value("ref_subset", values, shown=(NO_REF, REF)))


def _by_lyrics(tasks: Sequence[Task], rows: Rows) -> Iterator[GroupOfTask]:
    names = {True: VOCAL, False: INSTRUMENTAL, None: None}
    values = [names[has_lyrics(condition_of(row.raw))] for row in rows]
    return _for_each_task(tasks, _by_value("modality_type", values, shown=(INSTRUMENTAL, VOCAL)))


def _by_confidence(tasks: Sequence[Task], rows: Rows) -> Iterator[GroupOfTask]:
    with_ref = np.array([bool(has_reference(condition_of(row.raw))) for row in rows], dtype=np.bool_)
    for task in tasks:
        if isinstance(task, PairTask) and task.confidence_field is not None:
            levels = [confidence_level(row.raw.get(task.confidence_field)) for row in rows]
            groups = _by_value("confidence", levels, ref_category=ALL)
            for group in groups:
                for category, chosen in ((NO_REF, ~with_ref), (REF, with_ref)):
                    if (group.members & chosen).any():
                        yield task, group._replace(members=group.members & chosen, ref_category=category)
            for group in groups:
                yield task, group


Grouping = tuple[Callable[[MetricSettings], bool], Callable[[Sequence[Task], Rows], Iterator[GroupOfTask]]]
"""Whether it is switched on, and the groups it makes."""

GROUPINGS: Mapping[str, Sequence[Grouping]] = {
    MUSIC_ARENA.slug: ((lambda settings: settings.by_month, _by_month),),
    CMI_PREF.slug: (
        (lambda settings: settings.by_condition, _by_condition),
        (lambda settings: settings.by_confidence, _by_confidence),
        (lambda settings: settings.by_reference, _by_reference),
        (lambda settings: settings.by_lyrics, _by_lyrics),
    ),
}
