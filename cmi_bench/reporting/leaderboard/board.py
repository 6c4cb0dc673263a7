"""The leaderboard's tables as data: columns, rows, cells, and who is best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cmi_bench.data.datasets import Dataset, Task, all_datasets
from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.metrics import Metric, headline_metric, leaderboard_metrics, metric_by_name
from cmi_bench.types import Aspect


@dataclass(frozen=True)
class Column:
    """One column of figures."""

    key: str
    """As in the files of reported figures."""
    heading: str
    """The dataset's name in the table, over its columns."""
    name: str
    """Below it."""
    dataset: Dataset
    task: str
    metric: str
    rows: int | None
    """How many rows the reported figures are over: the whole test set's; None where nothing is reported."""
    group_key: str = ""
    """Of the detail table; empty for the summary's figure."""
    group_value: str = ""

    @property
    def is_percent(self) -> bool:
        """Accuracies are shown in percent, correlations as they stand."""
        return metric_by_name(self.metric).is_percent


@dataclass(frozen=True)
class TableForm:
    """One of the paper's tables."""

    slug: str
    title: str
    columns: Sequence[Column]

    @property
    def ceiling(self) -> Sequence[Column]:
        """The columns that the human ceiling is over, all together."""
        return [column for column in self.columns if column.dataset.has_human_ceiling]


def table_forms() -> tuple[TableForm, ...]:
    """Return the paper's tables, one for each aspect, with the columns of all registered datasets and metrics.

    The columns under the human ceiling stand last.
    """
    return tuple(TableForm(aspect.value, aspect.value.capitalize(), _columns(aspect)) for aspect in Aspect)


def _columns(aspect: Aspect) -> tuple[Column, ...]:
    datasets = sorted(all_datasets(), key=lambda dataset: dataset.has_human_ceiling)
    return tuple(
        column
        for dataset in datasets
        for task in dataset.tasks
        if task.aspect is aspect
        for column in _task_columns(dataset, task)
    )


def _task_columns(dataset: Dataset, task: Task) -> list[Column]:
    heading = dataset.table_heading
    if not task.leaderboard_groups:
        return [
            Column(_key(dataset, one.name, one), heading, one.name, dataset, task.name, one.name, dataset.rows)
            for one in leaderboard_metrics(task)
        ]
    metric = headline_metric(task)
    return [
        Column(
            _key(dataset, group.key, metric),
            heading,
            group.name,
            dataset,
            task.name,
            metric.name,
            group.rows,
            group.group_key,
            group.group_value,
        )
        for group in task.leaderboard_groups
    ]


def _key(dataset: Dataset, name: str, metric: Metric) -> str:
    """Return a column's key in the files of reported figures, such as "PAM_KTau" or "CMIPref_T_percent"."""
    unit = "_percent" if metric.is_percent else ""
    return f"{dataset.name.replace('-', '')}_{name.replace('-', '')}{unit}"


class RowKind(StrEnum):
    """Whose figures a row holds."""

    REPORTED = "reported"
    OWN = "own"


class Rank(StrEnum):
    """What is marked in a column."""

    BEST = "best"
    SECOND = "second"


@dataclass(frozen=True, kw_only=True)
class BoardCell:
    """One figure."""

    text: str
    """As it is shown: percent for accuracies; empty where there is none."""
    value: float | None
    """As a fraction or correlation."""
    interval: Interval | None = None
    significance_group: str = ""
    """Own rows that share a letter do not differ significantly."""
    n: int | None = None
    """Rows that it is over; None for reported figures, which are over all."""
    is_comparable: bool = True
    """Whether it is over the rows that the reported figures are over, all of them; others are not ranked."""
    notes: tuple[str, ...] = ()
    rank: Rank | None = None


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """A model's figures."""

    label: str
    kind: RowKind
    cells: Mapping[str, BoardCell]
    """By column key; a column without a figure is not in it."""
    notes: tuple[str, ...] = ()
    looks: int | None = None
    """How many checkpoints of the model's training were scored on the test sets; None where that is not known."""


@dataclass(frozen=True)
class BoardTable:
    """One of the tables, filled."""

    form: TableForm
    rows: Sequence[BoardRow]
    ceiling: str
    """The human ceiling in percent, over all of `form.ceiling` together."""

    @property
    def footnotes(self) -> list[str]:
        """The notes of rows and cells, each once, in the order in which they are met."""
        found: dict[str, None] = {}
        for row in self.rows:
            found |= dict.fromkeys(row.notes)
            for column in self.form.columns:
                if column.key in row.cells:
                    found |= dict.fromkeys(row.cells[column.key].notes)
        return list(found)

    def marks(self, notes: Sequence[str]) -> list[int]:
        """Return the numbers of footnotes, from 1."""
        footnotes = self.footnotes
        return [footnotes.index(note) + 1 for note in notes]


@dataclass(frozen=True)
class Leaderboard:
    """The paper's tables with own rows."""

    tables: Sequence[BoardTable]
    source: str
    """Where the reported figures are from."""
    ceiling_note: str
    notes: Sequence[str]
    """How own figures were made, and what was left out."""


def ranked(rows: Sequence[BoardRow], columns: Sequence[Column]) -> list[BoardRow]:
    """Mark the best and the second figure of each column, as shown: equal figures share a place.

    Figures over other rows than the reported ones take no place.
    """
    marked = [dict(row.cells) for row in rows]
    for column in columns:
        shown = {
            at: float(cells[column.key].text)
            for at, cells in enumerate(marked)
            if column.key in cells and cells[column.key].value is not None and cells[column.key].is_comparable
        }
        levels = sorted(set(shown.values()), reverse=True)
        for rank, level in zip((Rank.BEST, Rank.SECOND), levels, strict=False):
            for at, value in shown.items():
                if value == level:
                    marked[at][column.key] = replace(marked[at][column.key], rank=rank)
    return [replace(row, cells=cells) for row, cells in zip(rows, marked, strict=True)]


ColumnGroups = Mapping[tuple[str, str], str]
"""Significance groups by run and column key: own runs that share a letter do not differ in that column."""
