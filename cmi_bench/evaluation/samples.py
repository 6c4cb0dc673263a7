"""The rows of one task as arrays: labels and predictions, ready for any metric or resampling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data.datasets import Dataset, PairTask, Task
from cmi_bench.data.labels import LabelError
from cmi_bench.errors import UserError
from cmi_bench.evaluation.clusters import prompt_clusters
from cmi_bench.evaluation.protocols import Protocol, is_silent, is_unjudged
from cmi_bench.evaluation.selection import ResultRow


@dataclass(frozen=True)
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
    cluster: NDArray[np.intp]
    """[N] rows with the same prompt share a number."""
    applicable: bool
    """False where the model does not judge this at all: then nothing is a failure."""

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

        A failed pair enters if the protocol scores failures (as 0); a failed clip cannot enter a
        correlation.
        """
        if not self.applicable:
            return np.zeros_like(self.is_labelled)
        if isinstance(self.task, PairTask) and self.protocol.scores_failures:
            return self.is_labelled
        return self.is_labelled & ~np.isnan(self.prediction)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Samples":
        """Return some of the rows: a mask [N], or positions in any order and number."""
        return replace(
            self,
            rows=self.rows[chosen],
            label=self.label[chosen],
            prediction=self.prediction[chosen],
            cluster=self.cluster[chosen],
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
    return Samples(
        dataset=dataset,
        task=task,
        protocol=protocol,
        rows=np.array([row.number for row in rows], dtype=np.intp),
        label=label,
        prediction=prediction,
        cluster=prompt_clusters(rows),
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
            f"{origin}, row {row.number}: the field {task.label_field!r}: {error}.", "Mend or empty the label."
        ) from error
