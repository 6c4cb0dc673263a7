"""Several raters of the same songs: how well they agree, and how well one of them does what the model is asked to do.

Rows of one's own keep what each rater said (`fields.RATINGS`). Agreement is Krippendorff's alpha (Krippendorff 2011,
"Computing Krippendorff's Alpha-Reliability"). The human ceiling leaves one rater out: their labels are measured against
the others' mean, or majority, with the metrics of the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cmi_bench.config import MetricSettings
from cmi_bench.data import fields
from cmi_bench.data.datasets import PairTask, Task
from cmi_bench.data.fields import LabelError, parse_preference
from cmi_bench.data.votes import majority
from cmi_bench.evaluation.metrics import SIDE, Metric, Shown, Statistic, metrics_of, undefined
from cmi_bench.evaluation.protocols import number
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import Samples

FEWEST_ROWS = 5
"""That a rater shares with others, for a correlation to tell anything of them."""


@dataclass(frozen=True)
class Ceiling:
    """What one rater comes to by a metric, beside the model on the same rows against the same labels."""

    human: float | None
    """One rater against the others' mean or majority: the mean over raters, weighted by their rows."""
    model: float | None
    """The model against the same: the others' mean or majority, without the rater."""
    n_raters: int
    """Raters that it is the mean over."""


@dataclass(frozen=True, kw_only=True)
class RaterRecord:
    """The raters of one task of a dataset."""

    dataset: str
    task: str
    n_raters: int | None
    """None where they are not named."""
    n_ratings: int
    n_rows: int
    """Rows that two or more raters judged; alpha and ceilings are over these."""
    alpha: Statistic
    """Krippendorff's: 1 for perfect agreement, 0 for what chance gives."""
    level: str
    """Of measurement: "interval" for ratings, "nominal" for preferences."""
    ceilings: Mapping[str, Ceiling]
    """By metric; empty where raters are not named."""


class Ratings(NamedTuple):
    """What the raters said of a task's rows."""

    values: Floats
    """[N, R] ratings, or sides of preferences; NaN where a rater did not judge a row."""
    are_named: bool
    """Whether a column is one person."""

    @property
    def counts(self) -> Floats:
        """[N] how many judged each row."""
        return np.asarray(np.isfinite(self.values).sum(axis=1), dtype=np.float64)


def read_ratings(raws: Sequence[Mapping[str, Any]], task: Task) -> Ratings:
    """Read what raters said.

    Args:
        raws: N rows of results.
        task: Whose label they gave.
    """
    said = [raw.get(fields.RATINGS) for raw in raws]
    of_task = [one.get(task.label_field) if isinstance(one, Mapping) else None for one in said]
    named = [
        one if isinstance(one, Mapping) else dict(enumerate(one if isinstance(one, list) else [])) for one in of_task
    ]
    raters = {rater: place for place, rater in enumerate(dict.fromkeys(name for one in named for name in one))}
    values = np.full((len(raws), len(raters)), np.nan)
    for row, one in enumerate(named):
        for rater, value in one.items():
            values[row, raters[rater]] = _side(value) if isinstance(task, PairTask) else number(value)
    return Ratings(values, are_named=not any(isinstance(one, list) for one in of_task))


def _side(value: Any) -> float:
    try:
        preference = parse_preference(value)
    except LabelError:
        preference = None
    return float("nan") if preference is None else SIDE[preference]


def krippendorff_alpha(values: Floats, *, is_nominal: bool) -> Statistic:
    """Return Krippendorff's alpha: 1 minus the observed over the expected disagreement.

    Args:
        values: [N, R], NaN for what a rater did not judge; rows that fewer than two judged do not count.
        is_nominal: Whether values are names, of which two are equal or not; otherwise the squared difference counts.

    Returns:
        1 for perfect agreement, 0 for what chance gives; undefined where all values are equal.

    >>> import numpy as np
    >>> krippendorff_alpha(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, np.nan]]), is_nominal=False).value
    1.0
    """
    units = [row[np.isfinite(row)] for row in values]
    units = [unit for unit in units if unit.size > 1]
    if not units:
        return undefined("no row was judged by two raters")
    everything = np.concatenate(units)
    disagreement = _nominal if is_nominal else _interval
    expected = disagreement(everything) / (everything.size - 1)
    if expected == 0.0:
        return undefined("all ratings are the same")
    observed = sum(disagreement(unit) / (unit.size - 1) for unit in units)
    return Statistic(float(1.0 - observed / expected))


def _nominal(values: Floats) -> float:
    """Return how many ordered pairs of values differ."""
    counts = np.unique(values, return_counts=True)[1]
    return float(values.size**2 - np.square(counts).sum())


def _interval(values: Floats) -> float:
    """Return the sum of squared differences over all ordered pairs of values."""
    return float(2 * values.size * np.square(values - values.mean()).sum())


def human_ceiling(ratings: Floats, prediction: Floats, metric: Metric) -> Ceiling:
    """Measure each rater, and the model, against the other raters.

    Args:
        ratings: [N, R], NaN for what a rater did not judge.
        prediction: [N] the model's answers.
        metric: Of the task; of systems' means there is no ceiling.

    Returns:
        Means over the raters who share enough rows with others, each weighted by their rows.
    """
    is_paired = metric.task_type is PairTask
    fewest = 1 if metric.credit is not None else FEWEST_ROWS
    found: list[tuple[int, float, float]] = []
    for rater in range(ratings.shape[1]):
        others = np.delete(ratings, rater, axis=1)
        shared = np.flatnonzero(np.isfinite(ratings[:, rater]) & np.isfinite(others).any(axis=1))
        if shared.size < fewest:
            continue
        target = _labels(others[shared], is_paired=is_paired)
        human = metric.value(target, ratings[shared, rater]).value
        model = metric.value(target, prediction[shared]).value
        if human is not None:
            found.append((shared.size, human, float("nan") if model is None else model))
    if not found:
        return Ceiling(None, None, 0)
    weights, humans, models = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    model = float(np.average(models, weights=weights))
    return Ceiling(float(np.average(humans, weights=weights)), None if np.isnan(model) else model, len(found))


_PREFERENCE = {side: preference for preference, side in SIDE.items()}


def _labels(values: Floats, *, is_paired: bool) -> Floats:
    """Return the labels [n] that raters [n, R] would have given, as for the rows themselves."""
    if not is_paired:
        return np.asarray(np.nanmean(values, axis=1), dtype=np.float64)
    said = ([_PREFERENCE[float(side)] for side in row[np.isfinite(row)]] for row in values)
    return np.array([SIDE[majority(votes).winner] for votes in said])


def rater_record(
    samples: Samples, results: Sequence[Mapping[str, Any]], settings: MetricSettings
) -> RaterRecord | None:
    """Measure the raters of a task, on the rows that the model is measured on.

    Args:
        samples: The task's rows.
        results: All rows that the evaluation was given, in its order: a sample's row number counts them.
        settings: Which metrics there are.

    Returns:
        None where no row was judged by two raters.
    """
    evaluated = samples.evaluated()
    ratings = read_ratings([results[row - 1] for row in evaluated.rows], samples.task)
    shared = ratings.counts > 1
    if not shared.any():
        return None
    values, is_nominal = ratings.values[shared], isinstance(samples.task, PairTask)
    metrics = [one for one in metrics_of(samples.task, Shown.SUMMARY, settings) if not one.is_of_systems]
    return RaterRecord(
        dataset=samples.dataset.name,
        task=samples.task.name,
        n_raters=values.shape[1] if ratings.are_named else None,
        n_ratings=int(np.isfinite(values).sum()),
        n_rows=int(shared.sum()),
        alpha=krippendorff_alpha(values, is_nominal=is_nominal),
        level="nominal" if is_nominal else "interval",
        ceilings={metric.name: human_ceiling(values, evaluated.prediction[shared], metric) for metric in metrics}
        if ratings.are_named
        else {},
    )
