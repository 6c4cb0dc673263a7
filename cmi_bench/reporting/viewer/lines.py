"""All rows of several runs as their tasks see them: labels beside what each run says, and where runs differ."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import ALL_CATEGORIES, Dataset, PairTask, Task
from cmi_bench.data.fields import SPREAD
from cmi_bench.evaluation.groups import Group, task_groups
from cmi_bench.evaluation.marks import Mark, distance_from_people, marks
from cmi_bench.evaluation.pairing import AlignedRows, Run, align_rows, compare_views, predictions_of
from cmi_bench.evaluation.protocols import PROTOCOLS, number, score_fields
from cmi_bench.evaluation.reading import ResultRow, RowView, as_numbers, read_rows
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import SampleReader, Samples, Selection


@dataclass(frozen=True)
class RunLines:
    """What one run says on the rows of a task; n rows, NaN and None where the run does not have the row."""

    score_a: Floats
    """[n] of clip A, or of the only clip."""
    score_b: Floats
    """[n]; NaN for single clips."""
    spread_a: Floats
    """[n] of clip A's score over the members of an ensemble; NaN of other models."""
    spread_b: Floats
    """[n] of clip B's."""
    prediction: Floats
    """[n] as the metrics take it: scores, or sides (1 = A, 0 = both, -1 = B)."""
    marks: Sequence[Mark | None]
    distance: Floats
    """[n] see `marks.distance_from_people`."""


@dataclass(frozen=True)
class TaskLines:
    """The rows of a dataset as one of its tasks sees them; n rows."""

    task: Task
    label: Floats
    """[n] mean opinion scores, or sides."""
    by_run: Sequence[RunLines]
    """In the runs' order."""
    answers_apart: Floats
    """[n] see `pairing.Views.answers`."""
    standpoints_apart: Floats
    """[n] see `pairing.Views.spread`."""
    groups: Sequence[Group]
    """The dataset's groups for this task, without those split by category."""


@dataclass(frozen=True)
class DatasetLines:
    """All rows of a dataset that any run has."""

    dataset: Dataset
    rows: AlignedRows
    tasks: Sequence[TaskLines]


def view_lines(
    runs: Sequence[Run], settings: MetricSettings, selections: Mapping[str, Selection] | None = None
) -> list[DatasetLines]:
    """Read all rows of the runs.

    Args:
        runs: One or more.
        settings: Protocol, split, and which groups are made.
        selections: From `pairing.select_runs`, where that was done already.

    Raises:
        UserError: A label that the protocol does not understand.
    """
    return [
        _dataset_lines(dataset, rows, runs, settings)
        for dataset, rows in align_rows(runs, settings.split, selections).items()
    ]


def _dataset_lines(dataset: Dataset, rows: AlignedRows, runs: Sequence[Run], settings: MetricSettings) -> DatasetLines:
    read = [_RunReader(dataset, rows.rows_of[run.label], settings, run.origin) for run in runs]
    groups = list(task_groups(dataset, rows.rows, settings))
    tasks = []
    for task in dataset.tasks:
        if any(task in one.samples.tasks for one in read):
            samples_of = {run.label: one.samples.samples([task])[0] for run, one in zip(runs, read, strict=True)}
            own = [
                group for of_task, group in groups if of_task == task and group.ref_category in (None, ALL_CATEGORIES)
            ]
            tasks.append(_task_lines(task, samples_of, [one.scores[task] for one in read], rows, own))
    return DatasetLines(dataset, rows, tasks)


class _RunReader:
    """What is read of a run's rows of a dataset, in one pass."""

    def __init__(self, dataset: Dataset, rows: RowView, settings: MetricSettings, origin: str) -> None:
        self.samples = SampleReader(dataset, PROTOCOLS[settings.protocol], origin=origin)
        self.scores = {task: _ScoreReader(task) for task in dataset.tasks}
        read_rows(rows, self.samples, *self.scores.values())


class _ScoreReader:
    """Reads the scores that decide a task and their spreads, as they stand in the file."""

    def __init__(self, task: Task) -> None:
        self._fields = (*score_fields(task), *score_fields(task, SPREAD))
        self._values = array("d")

    def take(self, row: ResultRow) -> None:
        """Look at a row."""
        self._values.extend([number(row.raw.get(field)) for field in self._fields])

    def columns(self) -> Floats:
        """Return [4, N]: scores of clip A and of clip B, and their spreads."""
        return as_numbers(self._values).reshape(-1, len(self._fields)).T


def _task_lines(
    task: Task,
    samples_of: Mapping[str, Samples],
    scores: Sequence[_ScoreReader],
    rows: AlignedRows,
    groups: Sequence[Group],
) -> TaskLines:
    by_run = [
        _run_lines(samples, one.columns(), places)
        for samples, one, places in zip(samples_of.values(), scores, rows.places.T, strict=True)
    ]
    labels = np.array([_spread_out(one.label, at) for one, at in zip(samples_of.values(), rows.places.T, strict=True)])
    answers_apart, standpoints_apart = _apart(samples_of, rows)
    return TaskLines(
        task=task,
        label=labels[rows.owner, np.arange(len(rows.rows))],
        by_run=by_run,
        answers_apart=answers_apart,
        standpoints_apart=standpoints_apart,
        groups=groups,
    )


def _run_lines(samples: Samples, scores: Floats, places: NDArray[np.intp]) -> RunLines:
    is_pair = isinstance(samples.task, PairTask)
    score_a, score_b, spread_a, spread_b = scores
    nothing = np.full(score_a.size, np.nan)
    of_rows = [*marks(samples), None]  # a place of -1 is the last
    return RunLines(
        score_a=_spread_out(score_a, places),
        score_b=_spread_out(score_b if is_pair else nothing, places),
        spread_a=_spread_out(spread_a, places),
        spread_b=_spread_out(spread_b if is_pair else nothing, places),
        prediction=_spread_out(samples.prediction, places),
        marks=[of_rows[place] for place in places],
        distance=_spread_out(distance_from_people(samples, predictions_of(samples)), places),
    )


def _spread_out(values: Floats, places: NDArray[np.intp]) -> Floats:
    """Return a run's values in the order of all rows, NaN for rows that it does not have."""
    return np.append(values, np.nan)[places]


def _apart(samples_of: Mapping[str, Samples], rows: AlignedRows) -> tuple[Floats, Floats]:
    """Return how far apart the runs are, over the rows that all runs have that have any of this dataset."""
    having = {label: at for at, label in enumerate(samples_of) if rows.rows_of[label]}
    common = np.flatnonzero((rows.places[:, list(having.values())] >= 0).all(axis=1))
    places = {label: rows.places[common, at] for label, at in having.items()}
    views = compare_views({label: samples_of[label].take(places[label]) for label in having})
    answers, spread = np.full((2, len(rows.rows)), np.nan)
    answers[common], spread[common] = views.answers, views.spread
    return answers, spread


def choose_rows(datasets: Sequence[DatasetLines], most: int, seed: int) -> list[NDArray[np.intp]]:
    """Choose which rows to show where there are more than a page can hold.

    Each dataset keeps its share of them, and at least one. Within a dataset come first the rows on which a run failed,
    is wrong or differs from another, then clips by how far they are from people's ranks; among equals chance decides.

    Args:
        datasets: All rows.
        most: How many rows in all.
        seed: Of the choice among equals.

    Returns:
        For each dataset, positions among its rows, rising.
    """
    sizes = np.array([len(one.rows.rows) for one in datasets])
    if sizes.sum() <= most:
        return [np.arange(size) for size in sizes]
    # One row of each for sure, where there is room; of the rest a share.
    sure = int(most >= sizes.size)
    rest = np.cumsum(sizes - sure) * (most - sure * sizes.size) // (sizes - sure).sum()
    counts = np.diff(rest, prepend=0) + sure
    chance = np.random.default_rng(seed)
    chosen = []
    for one, size, count in zip(datasets, sizes, counts, strict=True):
        order = np.lexsort((chance.random(size), -_interest(one)))
        chosen.append(np.sort(order[:count]))
    return chosen


def _interest(lines: DatasetLines) -> Floats:
    """Return [n] how much a row is worth a look: 1 where a run failed, is wrong or differs, else by distance."""
    interest = np.zeros(len(lines.rows.rows))
    for task in lines.tasks:
        for run in task.by_run:
            bad = [one in (Mark.FAILED, Mark.WRONG) for one in run.marks]
            rated = [one is Mark.RATED for one in run.marks]
            interest = np.fmax(interest, np.where(bad, 1.0, np.where(rated, run.distance, 0.0)))
        interest = np.fmax(interest, (task.answers_apart > 0).astype(float))
        if not isinstance(task.task, PairTask):
            interest = np.fmax(interest, task.standpoints_apart / 2)
    return interest
