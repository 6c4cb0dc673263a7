"""Row by row, what the metrics count: whether a run is right on a pair, and how far from people it is on any row."""

from enum import StrEnum

import numpy as np

from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.calibration import standing_gaps
from cmi_bench.evaluation.metrics import credit
from cmi_bench.evaluation.pairing import standpoint
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import Samples


class Mark(StrEnum):
    """What a run's answer on a row is worth."""

    RIGHT = "right"
    HALF = "half right"
    """Exactly one of label and answer is "both"; it has half a credit."""
    WRONG = "wrong"
    FAILED = "failed"
    """There is no prediction."""
    RATED = "rated"
    """A score beside a mean opinion score: only over many clips there is right and wrong."""
    UNLABELLED = "no label"
    NOT_JUDGED = "not judged"
    """The model does not judge this task."""


_OF_CREDIT = {1.0: Mark.RIGHT, 0.5: Mark.HALF, 0.0: Mark.WRONG}


def marks(samples: Samples) -> list[Mark]:
    """Return what each row's answer is worth, by the credit that ACC is the mean of.

    Args:
        samples: [N] rows of a task.
    """
    earned = credit(samples.label, samples.prediction)
    is_pair = isinstance(samples.task, PairTask)

    def mark(at: int) -> Mark:
        if not samples.applicable:
            return Mark.NOT_JUDGED
        if np.isnan(samples.label[at]):
            return Mark.UNLABELLED
        if np.isnan(samples.prediction[at]):
            return Mark.FAILED
        return _OF_CREDIT[float(earned[at])] if is_pair else Mark.RATED

    return [mark(at) for at in range(samples.rows.size)]


def distance_from_people(samples: Samples, predictions: Floats) -> Floats:
    """Return how far a run is from people on each row, whatever the scale of its scores; the greatest are its mistakes.

    For a clip the distance of its standing by the model from that by people, from 0 to 1. For a pair the rank of its
    margin among all margins by size, up to 1 for the most confident mistake and negative where the run is right;
    where people say "both", any margin is a distance.

    Args:
        samples: [N] rows of a task.
        predictions: [N] from `pairing.predictions_of`.

    Returns:
        [N] in [-1, 1]; NaN where label or prediction is missing.
    """
    if not isinstance(samples.task, PairTask):
        return np.abs(standing_gaps(samples))
    distance = np.full(samples.rows.size, np.nan)
    answered = samples.is_labelled & ~np.isnan(samples.prediction)
    stands = standpoint(samples.take(answered), predictions[answered])
    label = samples.label[answered]
    distance[answered] = np.where(label == 0, np.abs(stands), -label * stands)
    return distance
