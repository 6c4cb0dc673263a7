"""Datasets of one's own: what has to be known of one, as it stands in each of its rows, and the `Dataset` it makes.

A row of one's own says itself which dataset it belongs to (`fields.DECLARED`), so that a results file is understood in
another process, in another folder, on another machine, whatever has become of the table that it was made from.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from cmi_bench.data import fields
from cmi_bench.data.datasets import (
    OWN_SOURCE,
    Dataset,
    Grouping,
    MosTask,
    PairTask,
    Raw,
    Task,
    dataset_by_name,
    register_own,
)
from cmi_bench.data.fields import Scale, is_missing, shown
from cmi_bench.errors import UserError
from cmi_bench.types import Aspect

PREFERENCE_TASK = "preference"
"""A pair's task where people were asked which song is better as a whole; the musicality scores decide."""


def _rating_task(aspect: Aspect, field: str) -> MosTask:
    return MosTask(aspect.value, aspect, field, scale=None)


def _pair_task(name: str, aspect: Aspect, field: str, predicted: str) -> PairTask:
    return PairTask(name, aspect, field, predicted, share_field=fields.share_field(field))


RATING_TASKS: Mapping[str, MosTask] = {
    Aspect.MUSICALITY: _rating_task(Aspect.MUSICALITY, fields.MUSICALITY_MOS),
    Aspect.ALIGNMENT: _rating_task(Aspect.ALIGNMENT, fields.ALIGNMENT_MOS),
}
PAIR_TASKS: Mapping[str, PairTask] = {
    PREFERENCE_TASK: _pair_task(
        PREFERENCE_TASK, Aspect.MUSICALITY, fields.PREFERENCE, fields.PREDICTED_PREFERENCE
    ),
    Aspect.MUSICALITY: _pair_task(
        "musicality", Aspect.MUSICALITY, fields.PREFERENCE_MUSICALITY, fields.PREDICTED_PREFERENCE_MUSICALITY
    ),
    Aspect.ALIGNMENT: _pair_task(
        "alignment", Aspect.ALIGNMENT, fields.PREFERENCE_ALIGNMENT, fields.PREDICTED_PREFERENCE_ALIGNMENT
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Declaration:
    """A dataset of one's own."""

    name: str
    """As in results and tables."""
    is_paired: bool
    tasks: tuple[str, ...]
    """Keys of `PAIR_TASKS` or of `RATING_TASKS`."""
    scale: Scale | None = None
    """What a rating can be; None for any number."""
    group_by: tuple[tuple[str, str], ...] = ()
    """Columns whose values are groups, each with the field of a row that it is kept in."""

    def to_json(self) -> dict[str, Any]:
        """Return what stands in each row."""
        return {
            "name": self.name,
            "pairs": self.is_paired,
            "tasks": list(self.tasks),
            "scale": list(self.scale) if self.scale else None,
            "group_by": dict(self.group_by),
        }

    @property
    def dataset(self) -> Dataset:
        """The same dataset for equal declarations."""
        return _dataset(self)

    def united(self, other: "Declaration") -> "Declaration":
        """Return what understands the rows of both: of two runs on one table, which may be grouped differently.

        Raises:
            UserError: One is of pairs, the other of single songs.
        """
        if self.is_paired != other.is_paired:
            raise UserError(
                f"There are two datasets called {self.name}: one of pairs, one of single songs.",
                "Give one of them another name: data.name=my_pairs.",
            )
        known = PAIR_TASKS if self.is_paired else RATING_TASKS
        return replace(
            self,
            tasks=tuple(name for name in known if name in {*self.tasks, *other.tasks}),
            scale=self.scale if self.scale == other.scale else None,
            group_by=tuple((dict(self.group_by) | dict(other.group_by)).items()),
        )


def read_declaration(value: Any) -> Declaration:
    """Read what stands in a row.

    Raises:
        UserError: It is not what `Declaration.to_json` writes.
    """
    try:
        known = PAIR_TASKS if value["pairs"] else RATING_TASKS
        low_high = value["scale"]
        declaration = Declaration(
            name=str(value["name"]),
            is_paired=bool(value["pairs"]),
            tasks=tuple(str(name) for name in value["tasks"] if known[name]),
            scale=(float(low_high[0]), float(low_high[1])) if low_high else None,
            group_by=tuple((str(column), str(field)) for column, field in value["group_by"].items()),
        )
        check_name(declaration.name)
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise UserError(
            f"The field {fields.DECLARED!r} is {shown(value)}, which declares no dataset.",
            "A run on data=custom writes it; score the table again.",
        ) from error
    return declaration


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


def check_name(name: str) -> str:
    """Return a name that can be a dataset's: letters, digits, `_`, `.` and `-`.

    Raises:
        UserError: It has other characters.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be the name of a dataset.", "Use letters, digits, '_', '.' and '-': data.name=my_songs."
        )
    return name


def name_of_file(stem: str) -> str:
    """Return the name of a dataset whose table is called like this.

    >>> name_of_file("My ratings (v2)")
    'My_ratings_v2'
    """
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", stem).strip("_.-") or "own"


def slug_of(name: str) -> str:
    """Return a name as it is in `subset=`.

    >>> slug_of("My-Songs v2")
    'my_songs_v2'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "own"


@lru_cache
def _dataset(declaration: Declaration) -> Dataset:
    if declaration.is_paired:
        tasks: tuple[Task, ...] = tuple(PAIR_TASKS[name] for name in declaration.tasks)
    else:
        tasks = tuple(replace(RATING_TASKS[name], scale=declaration.scale) for name in declaration.tasks)
    source = OWN_SOURCE + declaration.name
    return Dataset(
        name=declaration.name,
        slug=slug_of(declaration.name),
        tasks=tasks,
        owns_source=lambda one: one == source,
        groupings=tuple(_grouping(column, field) for column, field in declaration.group_by),
        is_own=True,
    )


def _grouping(column: str, field: str) -> Grouping:
    def label(raw: Raw) -> str | None:
        value = raw.get(field)
        return None if is_missing(value) else str(value).strip()

    return Grouping(column, "by_column", label)


_declared: dict[str, Declaration] = {}
"""By the name of the dataset, what is registered now."""


def declare(declaration: Declaration) -> Dataset:
    """Make a dataset known, in the place of an earlier one of the user's own of that name.

    Raises:
        UserError: The benchmark, or an installed package, has a dataset of that name.
    """
    dataset = register_own(declaration.dataset)
    _declared[declaration.name] = declaration
    return dataset


def declare_rows(rows: Iterable[Raw]) -> None:
    """Make the datasets known that rows of results declare; what is known and understands them stays.

    Raises:
        UserError: A declaration cannot be read, or rows of one name are of pairs and of single songs.
    """
    found: dict[str, Declaration] = {}
    texts: set[str] = set()
    for raw in rows:
        value = raw.get(fields.DECLARED)
        if is_missing(value) or (text := str(value)) in texts:
            continue
        texts.add(text)
        declaration = read_declaration(value)
        earlier = found.get(declaration.name)
        found[declaration.name] = declaration if earlier is None else earlier.united(declaration)
    for name, declaration in found.items():
        known = _declared.get(name)
        is_there = known is not None and dataset_by_name(name) is known.dataset
        if known is not None and is_there and known.is_paired == declaration.is_paired:
            declaration = known.united(declaration)
        if known != declaration or not is_there:
            declare(declaration)
