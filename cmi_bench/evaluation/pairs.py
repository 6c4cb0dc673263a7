"""The pairs that tell how sure a model is: both clips scored, and people preferred one of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.evaluation.protocols import number, score_fields
from cmi_bench.evaluation.samples import Samples


class DecidedPairs(NamedTuple):
    """Pairs with a preference and two finite scores; n of them."""

    rows: NDArray[np.intp]
    """[n] row numbers, from 1."""
    preferred: NDArray[np.float64]
    """[n] score of the clip that people preferred."""
    other: NDArray[np.float64]
    """[n] score of the other clip."""

    @property
    def lead(self) -> NDArray[np.float64]:
        """[n] score of the preferred clip minus the other's; its absolute value is the margin."""
        return np.asarray(self.preferred - self.other)

    @property
    def credit(self) -> NDArray[np.float64]:
        """[n] what the model earns: 1 for the clip that people preferred, 0 for the other, 0.5 for a tie."""
        return np.asarray((np.sign(self.lead) + 1.0) / 2.0)


def decided_pairs(samples: Samples, results: Sequence[Mapping[str, Any]]) -> DecidedPairs:
    """Return the pairs of a task that were decided by people and scored by the model.

    Args:
        samples: The rows of a task on pairs.
        results: All rows that the evaluation was given, in its order: a sample's row number counts them.
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
    return DecidedPairs(samples.rows[is_decided], np.where(a_wins, a, b), np.where(a_wins, b, a))
