"""Several raters of the same songs: how well they agree, and how well one of them does what the model is asked to do.

Rows of one's own keep what each rater said (`fields.RATINGS`). Agreement is Krippendorff's alpha (Krippendorff 2011,
"Computing Krippendorff's Alpha-Reliability"). The human ceiling leaves one rater out: their labels are measured against
the others' mean, or majority, with the metrics of the model.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.data import fields
from cmi_bench.data.datasets import PairTask, Task
from cmi_bench.data.fields import LabelError, parse_preference
from cmi_bench.evaluation.metrics import SIDE, Metric, Shown, Statistic, metrics_of, undefined
from cmi_bench.evaluation.protocols import number
from cmi_bench.evaluation.reading import ResultRow, as_numbers
from cmi_bench.evaluation.resampling import Floats, Ids
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


@dataclass(frozen=True)
class Ratings:
    """What the raters said of N rows: K ratings, of one row after the other."""

    row: Ids
    """[K] position of the row, rising."""
    rater: Ids
    """[K] number of the rater, of a row rising."""
    value: Floats
    """[K] a rating, or a side of a preference."""
    n_rows: int
    n_raters: int
    are_named: bool = True
    """Whether a number is one person."""

    @classmethod
    def of_table(cls, values: Floats) -> "Ratings":
        """Return the ratings of a table [N, R], where NaN is what a rater did not judge."""
        row, rater = np.nonzero(np.isfinite(values))
        return cls(row, rater, values[row, rater], *values.shape)

    @property
    def counts(self) -> Ids:
        """[N] how many judged each row."""
        return np.bincount(self.row, minlength=self.n_rows)

    def take(self, chosen: NDArray[np.bool_]) -> "Ratings":
        """Return the ratings of some rows: a mask [N]."""
        kept = chosen[self.row]
        place = np.cumsum(chosen) - 1
        return replace(
            self,
            row=place[self.row[kept]],
            rater=self.rater[kept],
            value=self.value[kept],
            n_rows=int(chosen.sum()),
        )


class RatingReader:
    """Reads of rows of results what raters said for a task."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._n_rows = 0
        self._row, self._rater, self._value = array("q"), array("q"), array("d")
        self._number_of: dict[Any, int] = {}
        self._are_named = True

    def take(self, row: ResultRow) -> None:
        """Look at a row."""
        place = self._n_rows
        self._n_rows += 1
        of_tasks = row.raw.get(fields.RATINGS)
        said = of_tasks.get(self._task.label_field) if isinstance(of_tasks, Mapping) else None
        if isinstance(said, list):
            self._are_named = False
        of_raters = said if isinstance(said, Mapping) else dict(enumerate(said if isinstance(said, list) else []))
        for rater, value in of_raters.items():
            self._rater.append(self._number_of.setdefault(rater, len(self._number_of)))
            self._value.append(_side(value) if isinstance(self._task, PairTask) else number(value))
            self._row.append(place)

    def ratings(self) -> Ratings:
        """Return all ratings."""
        row, rater, value = (as_numbers(kept) for kept in (self._row, self._rater, self._value))
        order = np.lexsort((rater, row))
        order = order[np.isfinite(value[order])]
        return Ratings(row[order], rater[order], value[order], self._n_rows, len(self._number_of), self._are_named)


def read_ratings(raws: Iterable[Mapping[str, Any]], task: Task) -> Ratings:
    """Read what raters said.

    Args:
        raws: N rows of results.
        task: Whose label they gave.
    """
    reader = RatingReader(task)
    for place, raw in enumerate(raws, start=1):
        reader.take(ResultRow(place, raw))
    return reader.ratings()


def _side(value: Any) -> float:
    try:
        preference = parse_preference(value)
    except LabelError:
        preference = None
    return float("nan") if preference is None else SIDE[preference]


def krippendorff_alpha(ratings: Ratings, *, is_nominal: bool) -> Statistic:
    """Return Krippendorff's alpha: 1 minus the observed over the expected disagreement.

    Args:
        ratings: Rows that fewer than two judged do not count.
        is_nominal: Whether values are names, of which two are equal or not; otherwise the squared difference counts.

    Returns:
        1 for perfect agreement, 0 for what chance gives; undefined where all values are equal.

    >>> import numpy as np
    >>> krippendorff_alpha(Ratings.of_table(np.array([[1.0, 1.0], [2.0, 2.0]])), is_nominal=False).value
    1.0
    """
    shared = ratings.take(ratings.counts > 1)
    if not shared.n_rows:
        return undefined("no row was judged by two raters")
    expected = _expected(shared.value, is_nominal=is_nominal) / (shared.value.size - 1)
    if expected == 0.0:
        return undefined("all ratings are the same")
    disagreement = (_nominal if is_nominal else _interval)(shared.value, shared.row)
    observed = np.cumsum(disagreement / (shared.counts - 1))[-1]
    return Statistic(float(1.0 - observed / expected))


def _expected(values: Floats, *, is_nominal: bool) -> float:
    """Return how far all values are apart, whatever their unit; see `_nominal` and `_interval`."""
    if is_nominal:
        return float(_nominal(values, np.zeros(values.size, dtype=np.intp))[0])
    return float(2 * values.size * np.square(values - values.mean()).sum())


def _nominal(values: Floats, units: Ids) -> Floats:
    """Return how many ordered pairs of values differ within each unit [G]."""
    names = np.unique(values, return_inverse=True)[1]
    cells, counts = np.unique(units * (int(names.max()) + 1) + names, return_counts=True)
    same = np.bincount(cells // (int(names.max()) + 1), np.square(counts))
    return np.asarray(np.square(np.bincount(units)) - same, dtype=np.float64)


def _interval(values: Floats, units: Ids) -> Floats:
    """Return the sum of squared differences over all ordered pairs of values within each unit [G]."""
    sizes = np.bincount(units)
    apart = values - (np.bincount(units, values) / sizes)[units]
    return np.asarray(2 * sizes * np.bincount(units, np.square(apart)), dtype=np.float64)


def human_ceiling(ratings: Ratings, prediction: Floats, metric: Metric) -> Ceiling:
    """Measure each rater, and the model, against the other raters.

    Args:
        ratings: Of N rows.
        prediction: [N] the model's answers.
        metric: Of the task; of systems' means there is no ceiling.

    Returns:
        Means over the raters who share enough rows with others, each weighted by their rows.
    """
    fewest = 1 if metric.credit is not None else FEWEST_ROWS
    make_labels = _majorities if metric.task_type is PairTask else _means
    shared = ratings.take(ratings.counts > 1)
    prediction = prediction[ratings.counts > 1]
    starts = np.searchsorted(shared.row, np.arange(shared.n_rows))
    by_rater = np.argsort(shared.rater, kind="stable")
    ends = np.cumsum(np.bincount(shared.rater, minlength=shared.n_raters))
    found: list[tuple[int, float, float]] = []
    for of_rater in np.split(by_rater, ends[:-1]):
        rows = shared.row[of_rater]
        if rows.size < fewest:
            continue
        # The ratings of these rows, but the rater's own.
        sizes = shared.counts[rows]
        unit = np.repeat(np.arange(rows.size), sizes)
        place = np.arange(unit.size) + np.repeat(starts[rows] - np.cumsum(sizes) + sizes, sizes)
        is_other = place != np.repeat(of_rater, sizes)
        target = make_labels(shared.value[place[is_other]], unit[is_other])
        human = metric.value(target, shared.value[of_rater]).value
        model = metric.value(target, prediction[rows]).value
        if human is not None:
            found.append((rows.size, human, float("nan") if model is None else model))
    if not found:
        return Ceiling(None, None, 0)
    weights, humans, models = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    model = float(np.average(models, weights=weights))
    return Ceiling(float(np.average(humans, weights=weights)), None if np.isnan(model) else model, len(found))


def _means(values: Floats, units: Ids) -> Floats:
    """Return the mean rating of each unit [G], as rows of ratings have it."""
    return np.asarray(np.bincount(units, values) / np.bincount(units))


def _majorities(values: Floats, units: Ids) -> Floats:
    """Return the side that most raters of each unit chose [G], 0 where two are equally frequent; see `data.votes`."""
    for_a, for_b, for_both = (np.bincount(units, values == side) for side in (1.0, -1.0, 0.0))
    return np.where(for_a > np.maximum(for_b, for_both), 1.0, np.where(for_b > np.maximum(for_a, for_both), -1.0, 0.0))


def rater_record(samples: Samples, ratings: Ratings, settings: MetricSettings) -> RaterRecord | None:
    """Measure the raters of a task, on the rows that the model is measured on.

    Args:
        samples: The task's rows.
        ratings: Of the same rows.
        settings: Which metrics there are.

    Returns:
        None where no row was judged by two raters.
    """
    measured = ratings.take(samples.is_evaluated)
    shared = measured.counts > 1
    if not shared.any():
        return None
    prediction = samples.evaluated().prediction[shared]
    chosen, is_nominal = measured.take(shared), isinstance(samples.task, PairTask)
    metrics = [one for one in metrics_of(samples.task, Shown.SUMMARY, settings) if not one.is_of_systems]
    return RaterRecord(
        dataset=samples.dataset.name,
        task=samples.task.name,
        n_raters=np.unique(measured.rater).size if chosen.are_named else None,
        n_ratings=chosen.value.size,
        n_rows=chosen.n_rows,
        alpha=krippendorff_alpha(chosen, is_nominal=is_nominal),
        level="nominal" if is_nominal else "interval",
        ceilings={metric.name: human_ceiling(chosen, prediction, metric) for metric in metrics}
        if chosen.are_named
        else {},
    )
