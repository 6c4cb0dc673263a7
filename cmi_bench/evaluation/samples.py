"""The rows of one task as arrays: which rows are evaluated, their labels and predictions, and which belong together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import Clustering
from cmi_bench.data import fields
from cmi_bench.data.datasets import Dataset, PairTask, Task, all_datasets, dataset_of_row
from cmi_bench.data.declarations import declare_rows
from cmi_bench.data.fields import LabelError
from cmi_bench.errors import UserError
from cmi_bench.evaluation.clusters import NOBODY, Clusters, clusters_of, prompt_ids, system_ids
from cmi_bench.evaluation.protocols import Protocol, is_silent, is_unjudged, number, score_fields


class ResultRow(NamedTuple):
    """One line of a results file."""

    number: int
    """Counted from 1 over all rows given: the line, in a file without blank lines."""
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """The rows to evaluate, and what was left out."""

    rows_of: Mapping[Dataset, Sequence[ResultRow]]
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
    found: dict[Dataset, list[ResultRow]] = {dataset: [] for dataset in all_datasets()}
    other_splits: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for line, raw in enumerate(rows, start=1):
        if has_splits and str(raw.get(fields.SPLIT)) != split:
            other_splits[str(raw.get(fields.SPLIT))] += 1
        elif (dataset := dataset_of_row(raw)) is None:
            unknown[str(raw.get(fields.SOURCE))] += 1
        else:
            found[dataset].append(ResultRow(line, raw))
    notes = [
        *([] if any(found.values()) else [f"No row of split {split!r} to evaluate."]),
        *(f"{rows_text(count)} of split {name!r} left out." for name, count in sorted(other_splits.items())),
        *(f"{rows_text(count)} of unknown source {name!r} left out." for name, count in sorted(unknown.items())),
    ]
    return Selection({dataset: chosen for dataset, chosen in found.items() if chosen}, notes)


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
    applicable: bool
    """False where the model does not judge this at all: then nothing is a failure."""

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
        chosen = self.take(self.is_evaluated)
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
        )


def read_samples(
    rows: Sequence[ResultRow], dataset: Dataset, task: Task, protocol: Protocol, *, origin: str = "results"
) -> Samples:
    """Read labels and predictions of one task.

    Args:
        rows: The dataset's rows.
        dataset: The dataset.
        task: One of its tasks.
        protocol: How rows are read.
        origin: What the rows were read from, for messages.

    Raises:
        UserError: A label that the protocol does not understand, with row and field.
    """
    label = np.array([_label(row, task, protocol, origin) for row in rows], dtype=np.float64)
    prediction = np.array([protocol.prediction(row.raw, task) for row in rows], dtype=np.float64)
    raws = [row.raw for row in rows]
    return Samples(
        dataset=dataset,
        task=task,
        protocol=protocol,
        rows=np.array([row.number for row in rows], dtype=np.intp),
        label=label,
        prediction=prediction,
        prompt=prompt_ids(raws, dataset),
        system=system_ids(raws, dataset),
        applicable=not np.isnan(prediction).all() or _are_failures(rows, protocol.columns(task)),
    )


def _are_failures(rows: Sequence[ResultRow], columns: tuple[str, ...]) -> bool:
    """Tell failures from a model that does not judge this, where no row has a prediction.

    It does not judge if any row was scored well and yet has nothing here, or if no row has the columns.
    """
    unjudged = any(is_unjudged(row.raw, columns) for row in rows)
    return not unjudged and not all(is_silent(row.raw, columns) for row in rows)


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


def decided_pairs(
    samples: Samples, results: Sequence[Mapping[str, Any]], clustering: Clustering = Clustering.prompt
) -> DecidedPairs:
    """Return the pairs of a task that were decided by people and scored by the model.

    Args:
        samples: The rows of a task on pairs.
        results: All rows that the evaluation was given, in its order: a sample's row number counts them.
        clustering: Which pairs are taken to depend on each other.
    """
    field_a, field_b = score_fields(samples.task)
    scores = np.array(
        [[number(results[row - 1].get(field)) for field in (field_a, field_b)] for row in samples.rows],
        dtype=np.float64,
    ).reshape(-1, 2)
    is_decided = (
        samples.is_evaluated & (samples.label != 0) & ~np.isnan(samples.prediction) & np.isfinite(scores).all(axis=1)
    )
    a, b = scores[is_decided].T
    a_wins = samples.label[is_decided] > 0
    clusters = clusters_of(samples.prompt[is_decided], samples.system[is_decided], clustering)
    return DecidedPairs(samples.rows[is_decided], np.where(a_wins, a, b), np.where(a_wins, b, a), clusters)
