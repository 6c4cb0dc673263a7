"""The rows of one task as arrays: which rows are evaluated, their labels and predictions, and which belong together."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import Clustering
from cmi_bench.data import fields
from cmi_bench.data.datasets import Dataset, PairTask, Raw, Task, all_datasets, dataset_of_row
from cmi_bench.data.declarations import declare_rows
from cmi_bench.data.fields import LabelError
from cmi_bench.errors import UserError
from cmi_bench.evaluation.clusters import NOBODY, Clusters, PromptReader, SystemReader, clusters_of
from cmi_bench.evaluation.protocols import Protocol, is_silent, is_unjudged, number, score_fields
from cmi_bench.evaluation.reading import ResultRow, RowView, as_numbers
from cmi_bench.evaluation.resampling import Floats


@dataclass(frozen=True)
class Selection:
    """The rows to evaluate, and what was left out."""

    rows_of: Mapping[Dataset, RowView]
    """By dataset, in the tables' order; datasets without a row are not in it."""
    notes: list[str]


def select_rows(rows: Sequence[Mapping[str, Any]], split: str) -> Selection:
    """Choose the rows of a split and assign them to the datasets, as the public evaluator does.

    Args:
        rows: Results rows. Where none of them has a `split`, all are taken.
        split: The split wanted.

    Raises:
        UserError: Rows declare a dataset of the user's own in a way that cannot be read.
    """
    declare_rows(rows)
    has_splits = any(fields.SPLIT in raw for raw in rows)
    code_of = {dataset.slug: code for code, dataset in enumerate(all_datasets())}
    chosen = array("h")
    other_splits: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for raw in rows:
        code = NOBODY
        if has_splits and str(raw.get(fields.SPLIT)) != split:
            other_splits[str(raw.get(fields.SPLIT))] += 1
        elif (dataset := dataset_of_row(raw)) is None:
            unknown[str(raw.get(fields.SOURCE))] += 1
        else:
            code = code_of[dataset.slug]
        chosen.append(code)
    codes = as_numbers(chosen)
    found = {dataset: RowView(rows, np.flatnonzero(codes == code_of[dataset.slug])) for dataset in all_datasets()}
    notes = [
        *([] if any(found.values()) else [f"No row of split {split!r} to evaluate."]),
        *(f"{rows_text(count)} of split {name!r} left out." for name, count in sorted(other_splits.items())),
        *(f"{rows_text(count)} of unknown source {name!r} left out." for name, count in sorted(unknown.items())),
    ]
    return Selection({dataset: view for dataset, view in found.items() if view}, notes)


def rows_text(count: int) -> str:
    """Return "1 row", "2 rows"."""
    return f"{count} row" + "s" * (count != 1)


@dataclass(frozen=True, repr=False)
class Samples:
    """All rows of a dataset as one of its tasks sees them; N counts rows of every kind."""

    dataset: Dataset
    task: Task
    protocol: Protocol
    rows: NDArray[np.intp]
    """[N] row numbers, from 1, as in messages."""
    label: NDArray[np.float64]
    """[N] mean opinion scores, or sides (1 = A, 0 = both, -1 = B); NaN without a label."""
    prediction: NDArray[np.float64]
    """[N] scores, or sides; NaN where the prediction failed or is missing."""
    prompt: NDArray[np.intp]
    """[N] rows with the same prompt share a number (`clusters.prompt_ids`)."""
    system: NDArray[np.intp]
    """[N, 1] or [N, 2] which systems made the clips (`clusters.system_ids`)."""
    scores: NDArray[np.float64]
    """[N, 2] of pairs the scores of clip A and clip B that decide, as they stand in the file, NaN without one; [N, 0]
    of single clips, whose score is the prediction."""
    applicable: bool
    """False where the model does not judge this at all: then nothing is a failure."""
    members: NDArray[np.float64] | None = None
    """[clips, N, M] of one or two clips a row the scores of an ensemble's M members; NaN where a score is no finite
    number, or a row does not have all M. None where no row has two members or more."""

    def __repr__(self) -> str:
        return f"<Samples {self.dataset.name} {self.task.name} (n={self.rows.size})>"

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """[N] rows with a label."""
        return ~np.isnan(self.label)

    @property
    def is_failed(self) -> NDArray[np.bool_]:
        """[N] rows with a label and without a prediction."""
        return self.is_labelled & np.isnan(self.prediction)

    @property
    def is_evaluated(self) -> NDArray[np.bool_]:
        """[N] rows that enter the metrics; their number is the table's n.

        A failed row enters if the protocol scores failures: a pair as 0, a clip with the worst rank (see `evaluated`).
        Where every clip failed there is no rank to give.
        """
        answered = self.is_labelled & ~np.isnan(self.prediction)
        if not self.applicable:
            return np.zeros_like(self.is_labelled)
        if self.protocol.scores_failures and (isinstance(self.task, PairTask) or answered.any()):
            return self.is_labelled
        return answered

    def evaluated(self) -> "Samples":
        """Return the rows that enter the metrics, with the score of a failed clip made the worst there is.

        That is the lowest of the other scores where the label is above the median and the highest where it is not, so
        that a failure costs, whichever clips fail.
        """
        is_evaluated = self.is_evaluated
        chosen = self if is_evaluated.all() else self.take(is_evaluated)
        failed = np.isnan(chosen.prediction)
        if isinstance(self.task, PairTask) or not failed.any() or failed.all():
            return chosen
        scores = chosen.prediction[~failed]
        worst = np.where(chosen.label > np.median(chosen.label), scores.min(), scores.max())
        return replace(chosen, prediction=np.where(failed, worst, chosen.prediction))

    def by_system(self) -> "Samples | None":
        """Return one row for each system, of mean label and mean prediction; None where not every row names its own.

        The rows are the systems' first ones.
        """
        ids = self.system[:, 0]
        if isinstance(self.task, PairTask) or not ids.size or (ids == NOBODY).any():
            return None
        _, first, ids, counts = np.unique(ids, return_index=True, return_inverse=True, return_counts=True)
        if counts.size < 2 or counts.size == ids.size:
            return None
        label, prediction = (np.bincount(ids, values) / counts for values in (self.label, self.prediction))
        return replace(self.take(first), label=label, prediction=prediction)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Samples":
        """Return some of the rows: a mask [N], or positions in any order and number."""
        return replace(
            self,
            rows=self.rows[chosen],
            label=self.label[chosen],
            prediction=self.prediction[chosen],
            prompt=self.prompt[chosen],
            system=self.system[chosen],
            scores=self.scores[chosen],
            members=None if self.members is None else self.members[:, chosen],
        )


class SampleReader:
    """Reads the rows of a dataset as its tasks see them."""

    def __init__(self, dataset: Dataset, protocol: Protocol, *, origin: str = "results") -> None:
        """Take note of how to read.

        Args:
            dataset: Whose rows they are.
            protocol: How rows are read.
            origin: What the rows were read from, for messages.
        """
        self.dataset = dataset
        self.protocol = protocol
        self._rows = array("q")
        self._prompts = PromptReader(dataset)
        self._systems = SystemReader(dataset)
        self._tasks = {task: _TaskReader(task, protocol, origin) for task in dataset.tasks}

    def take(self, row: ResultRow) -> None:
        """Look at a row.

        Raises:
            UserError: A label that the protocol does not understand, with row and field.
        """
        self._rows.append(row.number)
        self._prompts.add(row.raw)
        self._systems.add(row.raw)
        for reader in self._tasks.values():
            reader.take(row)

    @property
    def tasks(self) -> list[Task]:
        """The tasks that the rows speak of: of a dataset of one's own, those whose label some row has a place for."""
        return [task for task, reader in self._tasks.items() if reader.is_named or not self.dataset.is_own]

    def samples(self, tasks: Iterable[Task] | None = None) -> list[Samples]:
        """Return the rows as tasks see them.

        Args:
            tasks: Some of the dataset's; None for those that the rows speak of.
        """
        rows = as_numbers(self._rows)
        prompt, system = self._prompts.ids(), self._systems.ids()
        return [
            Samples(
                dataset=self.dataset,
                task=task,
                protocol=self.protocol,
                rows=rows,
                prompt=prompt,
                system=system,
                **self._tasks[task].columns(),
            )
            for task in (self.tasks if tasks is None else tasks)
        ]


class _TaskReader:
    """Reads the rows of a dataset as one of its tasks sees them."""

    def __init__(self, task: Task, protocol: Protocol, origin: str) -> None:
        self._task = task
        self._protocol = protocol
        self._origin = origin
        self._columns = protocol.columns(task)
        self._clips = 2 if isinstance(task, PairTask) else 1
        self._score_fields = score_fields(task) if self._clips > 1 else ()
        self._label, self._prediction, self._scores = array("d"), array("d"), array("d")
        self._members = [_MemberReader(field) for field in score_fields(task, fields.MEMBERS)[: self._clips]]
        self.is_named = False
        self._is_answered = self._is_unjudged = False
        self._is_silent = True

    def take(self, row: ResultRow) -> None:
        raw = row.raw
        self.is_named |= self._task.label_field in raw
        self._label.append(_label(row, self._task, self._protocol, self._origin))
        prediction = self._protocol.prediction(raw, self._task)
        self._prediction.append(prediction)
        self._scores.extend([number(raw.get(field)) for field in self._score_fields])
        for members in self._members:
            members.add(raw)
        if not math.isnan(prediction):
            self._is_answered = True
        elif not self._is_answered:  # what follows tells failures from a model that never answers
            self._is_unjudged |= is_unjudged(raw, self._columns)
            self._is_silent &= is_silent(raw, self._columns)

    def columns(self) -> dict[str, Any]:
        """Return what `Samples` has of a task by itself."""
        return {
            "label": as_numbers(self._label),
            "prediction": as_numbers(self._prediction),
            "scores": as_numbers(self._scores).reshape(len(self._label), len(self._score_fields)),
            "members": _members(self._members),
            # It does not judge if any row was scored well and yet has nothing here, or if no row has the columns.
            "applicable": self._is_answered or not (self._is_unjudged or self._is_silent),
        }


class _MemberReader:
    """Reads what the members of an ensemble gave one clip of each row."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._counts, self._scores = array("i"), array("d")

    def add(self, raw: Raw) -> None:
        said = raw.get(self._field)
        scores = [number(one) for one in said] if isinstance(said, list) else []
        self._counts.append(len(scores))
        self._scores.extend(scores)

    @property
    def most(self) -> int:
        return max(self._counts, default=0)

    def table(self, n_members: int) -> Floats:
        """Return [N, M], NaN for rows without all of them."""
        counts = as_numbers(self._counts)
        found = np.full((counts.size, n_members), np.nan)
        is_whole = counts == n_members
        values = as_numbers(self._scores)[np.repeat(is_whole, counts)].reshape(-1, n_members)
        found[is_whole] = np.where(np.isfinite(values), values, np.nan)
        return found


def _members(readers: Sequence[_MemberReader]) -> Floats | None:
    n_members = max(reader.most for reader in readers)
    return np.stack([reader.table(n_members) for reader in readers]) if n_members > 1 else None


def _label(row: ResultRow, task: Task, protocol: Protocol, origin: str) -> float:
    try:
        return protocol.label(row.raw, task)
    except LabelError as error:
        raise UserError(
            f"{origin}, row {row.number}: the field {task.label_field!r}: {error}.", "Fix or empty the label."
        ) from error


class DecidedPairs(NamedTuple):
    """Pairs with a preference and two finite scores; n of them."""

    rows: NDArray[np.intp]
    """[n] row numbers, from 1."""
    preferred: NDArray[np.float64]
    """[n] score of the clip that people preferred."""
    other: NDArray[np.float64]
    """[n] score of the other clip."""
    clusters: Clusters
    """Which of the pairs depend on each other."""

    @property
    def lead(self) -> NDArray[np.float64]:
        """[n] score of the preferred clip minus the other's; its absolute value is the margin."""
        return np.asarray(self.preferred - self.other)

    @property
    def credit(self) -> NDArray[np.float64]:
        """[n] what the model earns: 1 for the clip that people preferred, 0 for the other, 0.5 for a tie."""
        return np.asarray((np.sign(self.lead) + 1.0) / 2.0)


def decided_pairs(samples: Samples, clustering: Clustering = Clustering.prompt) -> DecidedPairs:
    """Return the pairs of a task that were decided by people and scored by the model.

    Args:
        samples: The rows of a task on pairs.
        clustering: Which pairs are taken to depend on each other.
    """
    is_decided = (
        samples.is_evaluated
        & (samples.label != 0)
        & ~np.isnan(samples.prediction)
        & np.isfinite(samples.scores).all(axis=1)
    )
    a, b = samples.scores[is_decided].T
    a_wins = samples.label[is_decided] > 0
    clusters = clusters_of(samples.prompt[is_decided], samples.system[is_decided], clustering)
    return DecidedPairs(samples.rows[is_decided], np.where(a_wins, a, b), np.where(a_wins, b, a), clusters)
