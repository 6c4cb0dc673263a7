"""The rows on which runs disagree most: where to listen to find out what a difference is."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

# `scipy` loads `stats` when it is first used, so importing this module stays quick.
import scipy

from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.comparison.records import Disagreement
from cmi_bench.evaluation.protocols import number, score_fields
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import Samples
from cmi_bench.evaluation.selection import ResultRow


def greatest_disagreements(
    samples_of: Mapping[str, Samples], rows_of: Mapping[str, Sequence[ResultRow]], *, count: int
) -> list[Disagreement]:
    """Return up to `count` rows of a task, the greatest disagreement first.

    Pairs come in the order of how far apart the answers are, and then, as clips do, of how far apart
    the runs' standpoints are. Rows without a prediction in every run that judges the task are passed over.

    Args:
        samples_of: By run; the k-th rows of all runs are the same row.
        rows_of: By run, the same rows as they stand in the files.
        count: At most so many.
    """
    judging = {run: samples for run, samples in samples_of.items() if samples.is_evaluated.any()}
    if len(judging) < 2:
        return []
    usable = np.logical_and.reduce([samples.is_labelled & ~samples.is_failed for samples in judging.values()])
    taken = {run: samples.take(usable) for run, samples in judging.items()}
    rows = {run: list(itertools.compress(rows_of[run], usable)) for run in taken}
    predictions = {run: _predictions(samples, rows[run]) for run, samples in taken.items()}
    first_run, first = next(iter(taken.items()))
    answers = np.zeros(first.label.size)
    if isinstance(first.task, PairTask):
        answers = np.ptp([samples.prediction for samples in taken.values()], axis=0)
    spread = np.ptp([standpoint(samples, predictions[run]) for run, samples in taken.items()], axis=0)
    order = np.lexsort((-spread, -answers))
    return [
        Disagreement(
            dataset=first.dataset.name,
            task=first.task.name,
            row=rows[first_run][at].number,
            raw=rows[first_run][at].raw,
            label=float(first.label[at]),
            predictions={run: float(values[at]) for run, values in predictions.items()},
            answers=float(answers[at]),
            spread=float(spread[at]),
        )
        for at in order[:count].tolist()
        if spread[at] > 0
    ]


def standpoint(samples: Samples, predictions: Floats) -> Floats:
    """Return where a model stands on each row among all rows, from -1 to 1, whatever the scale of its scores.

    For a clip the rank of its score, -1 for the lowest; for a pair the rank of its margin among all margins
    by size, negative where clip B is preferred.

    Args:
        samples: [n] rows.
        predictions: [n] scores, or scores of A minus scores of B.
    """
    if not isinstance(samples.task, PairTask):
        return np.asarray((2 * scipy.stats.rankdata(predictions) - 1) / max(predictions.size, 1) - 1)
    return np.asarray(samples.prediction * scipy.stats.rankdata(np.abs(predictions)) / max(predictions.size, 1))


def _predictions(samples: Samples, rows: Sequence[ResultRow]) -> Floats:
    """Scores of clips; margins of pairs, or the sides where a file states them without scores."""
    if not isinstance(samples.task, PairTask):
        return samples.prediction
    field_a, field_b = score_fields(samples.task)
    margin = np.array([number(row.raw.get(field_a)) - number(row.raw.get(field_b)) for row in rows], dtype=np.float64)
    return np.where(np.isfinite(margin), margin, samples.prediction)
