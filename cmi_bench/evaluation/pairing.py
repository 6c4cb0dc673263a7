"""Several runs over the same rows: the rows they have in common, the records of a comparison, the disagreements.

A row is known by its own fields, not by its place in the file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import Dataset, PairTask, all_datasets
from cmi_bench.data.declarations import declare_rows
from cmi_bench.data.fields import is_own
from cmi_bench.errors import UserError
from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.reading import JoinedRows, RowView
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import Samples, Selection, rows_text, select_rows
from cmi_bench.utils.files import text_number


class Run(NamedTuple):
    """The results of one run."""

    label: str
    """Its name in tables; no two runs have the same."""
    rows: Sequence[Mapping[str, Any]]
    """Lines of its results file."""
    origin: str
    """Where they are from, for messages."""
    note: str = ""
    """What has to be known where figures over these rows stand, such as that they are synthetic."""


@dataclass(frozen=True)
class PairedRows:
    """Rows that all runs have, in the same order."""

    rows_of: Mapping[Dataset, Mapping[str, RowView]]
    """By dataset and label; the k-th rows of all runs are the same row."""
    n_rows: Mapping[str, int]
    """By label, how many rows the run has, in common or not."""

    @property
    def n_common(self) -> int:
        """How many rows all runs have."""
        return sum(len(next(iter(of_run.values()))) for of_run in self.rows_of.values())

    @property
    def counts(self) -> list[str]:
        """How many rows of each run are not in all of them, in words; nothing where all runs have the same."""
        if all(n == self.n_common for n in self.n_rows.values()):
            return []
        return [
            f"{run}: {rows_text(n)}, {n - self.n_common} of them not in every run" for run, n in self.n_rows.items()
        ]


def pair_rows(runs: Sequence[Run], split: str) -> PairedRows:
    """Bring the rows of several runs together.

    Args:
        runs: One or more.
        split: Rows of other splits are passed over.
    """
    selections = {label: found.rows_of for label, found in select_runs(runs, split).items()}
    rows_of: dict[Dataset, dict[str, RowView]] = {}
    for dataset in selections[runs[0].label]:
        views = {label: found[dataset] for label, found in selections.items() if dataset in found}
        if len(views) < len(runs):
            continue
        keys = [_keys(view) for view in views.values()]
        common = keys[0][np.logical_and.reduce([np.isin(keys[0], of_run) for of_run in keys])]
        if common.size:
            places = [_places(of_run, common) for of_run in keys]
            rows_of[dataset] = {label: view.take(at) for (label, view), at in zip(views.items(), places, strict=True)}
    return PairedRows(rows_of, {label: sum(map(len, found.values())) for label, found in selections.items()})


def select_runs(runs: Sequence[Run], split: str) -> dict[str, Selection]:
    """Choose the rows of each run, by its label."""
    # All of them first: two runs may declare the user's own dataset with different groups.
    declare_rows(raw for run in runs for raw in run.rows)
    return {run.label: select_rows(run.rows, split) for run in runs}


class AlignedRows(NamedTuple):
    """All rows of a dataset that any of several runs has; n of them."""

    rows: JoinedRows
    """[n] as the first run that has them gives them; the first run's come first, in its order."""
    owner: NDArray[np.intp]
    """[n] which run that is."""
    places: NDArray[np.intp]
    """[n, runs] where each run has the row among its rows of the dataset; -1 where it does not have it."""
    rows_of: Mapping[str, RowView]
    """By label, each run's own rows of the dataset."""


def align_rows(
    runs: Sequence[Run], split: str, selections: Mapping[str, Selection] | None = None
) -> dict[Dataset, AlignedRows]:
    """Bring all rows of several runs together, whether all runs have them or not.

    Args:
        runs: One or more.
        split: Rows of other splits are passed over.
        selections: From `select_runs`, where that was done already.
    """
    selections = selections or select_runs(runs, split)
    aligned = {}
    for dataset in all_datasets():
        rows_of = {run.label: selections[run.label].rows_of.get(dataset, RowView(run.rows, NO_ROWS)) for run in runs}
        if any(rows_of.values()):
            aligned[dataset] = _aligned(rows_of)
    return aligned


NO_ROWS = np.empty(0, dtype=np.intp)


def _aligned(rows_of: Mapping[str, RowView]) -> AlignedRows:
    keys = [_keys(view) for view in rows_of.values()]
    everything = np.concatenate(keys)
    first = np.sort(np.unique(everything, return_index=True)[1])
    ends = np.cumsum([of_run.size for of_run in keys])
    owner = np.searchsorted(ends, first, side="right").astype(np.intp)
    places = np.stack([_places(of_run, everything[first]) for of_run in keys], axis=1)
    own = [view.take(places[owner == at, at]) for at, view in enumerate(rows_of.values())]
    return AlignedRows(JoinedRows(own), owner, places, rows_of)


def require_common(paired: PairedRows, *, intersect: bool) -> list[str]:
    """Refuse runs over different rows, unless told to take those in common.

    Returns:
        What was left out, in words.

    Raises:
        UserError: The runs are over different rows and that was not allowed for, or have none in common.
    """
    counts = paired.counts
    listed = "".join(f"\n  {line}" for line in counts)
    if not paired.n_common:
        raise UserError(f"The runs have no row in common.{listed}", "Compare runs over the same benchmark file.")
    if counts and not intersect:
        raise UserError(
            f"The runs are over different rows.{listed}",
            f"intersect=true compares them on the {rows_text(paired.n_common)} in common.",
        )
    return [f"Compared on the {rows_text(paired.n_common)} that all runs have.", *counts] if counts else []


def _keys(rows: RowView) -> NDArray[np.uint64]:
    """Return a number for each row [n] by its content; equal rows are told apart by their order."""
    content = np.fromiter((text_number(_content(row.raw)) for row in rows), dtype=np.int64, count=len(rows))
    order = np.argsort(content, kind="stable")
    starts = np.flatnonzero(np.diff(content[order], prepend=content[order[:1]] - 1))
    nth = np.empty(content.size, dtype=np.uint64)
    nth[order] = np.arange(content.size) - np.repeat(starts, np.diff(starts, append=content.size))
    return content.view(np.uint64) + nth * GOLDEN


GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""An odd number whose multiples are spread over all of 64 bits."""


def _places(keys: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return where keys wanted [m] stand among different keys [n]; -1 for those that do not."""
    if not keys.size:
        return np.full(wanted.size, -1, dtype=np.intp)
    order = np.argsort(keys)
    at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), keys.size - 1)]
    return np.where(keys[at] == wanted, at, -1)


def _content(raw: Mapping[str, Any]) -> str:
    own = {field: value for field, value in raw.items() if is_own(field)}
    return json.dumps(own, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One run in a comparison by one metric."""

    run: str
    value: float | None
    """The metric over the compared rows; None where it is undefined."""
    interval: Interval | None
    """None where the metric is undefined."""
    significance_group: str = ""
    """Letters, e.g. "ab": runs that share one do not differ significantly; empty for a run that cannot be compared."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two runs in a comparison by one metric."""

    first: str
    second: str
    value: float
    """The first's metric minus the second's."""
    interval: Interval
    """Of the difference, paired and not corrected for the number of comparisons."""
    test: str
    """What `p` is from: "sign flip", "clustered t", "jackknife t" or "bootstrap"; see `intervals`."""
    p: float | None
    """None where there is too little to tell by."""
    p_mcnemar: float | None
    """For accuracies McNemar's exact p-value (the sign test on credits where some are halved by ties), which takes
    rows for independent; None for other metrics."""
    better: int | None
    """Rows on which the first has more credit than the second; None for correlations."""
    worse: int | None
    p_holm: float | None = None
    """`p` corrected for all comparisons of the family."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MetricComparison:
    """Several runs by one metric over the same rows."""

    dataset: str
    task: str
    metric: str
    group: str = ""
    """Which of the dataset's rows; empty for all."""
    n: int
    """Rows that enter, the same for all runs."""
    n_clusters: int
    unit: str
    """What was taken for independent: "prompts", "rows", "systems" or "prompts and systems"."""
    standings: tuple[Standing, ...]
    """The best first; runs without a value last."""
    differences: tuple[Difference, ...]
    """Each pair of runs with a value once."""
    note: str = ""
    """Rows and runs left out."""
    family_size: int = 0
    """Comparisons that were corrected together: those of this task, metric and group."""

    @property
    def short(self) -> str:
        """Who stands where, in a line: runs, values and significance groups."""
        place = f"{self.dataset} {self.task}{f', {self.group}' if self.group else ''} {self.metric} (n={self.n})"
        runs = (
            f"{one.run} {'undefined' if one.value is None else f'{one.value:.4f}'} {one.significance_group}".rstrip()
            for one in self.standings
        )
        return f"{place}: {', '.join(runs)}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.short}>"

    def difference(self, first: str, second: str) -> float | None:
        """Return how much the first is ahead of the second; None if they were not compared."""
        for one in self.differences:
            if (one.first, one.second) == (first, second):
                return one.value
            if (one.second, one.first) == (first, second):
                return -one.value
        return None


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A row on which runs are of different opinion."""

    dataset: str
    task: str
    row: int
    """Its number in the first run's file, from 1."""
    raw: Mapping[str, Any] = field(repr=False)
    """The row as it stands in the first run's file."""
    label: float
    """Mean opinion score, or side (1 = A, 0 = both, -1 = B)."""
    predictions: Mapping[str, float]
    """By run: the clip's score, or for a pair the score of A minus that of B."""
    answers: float
    """For pairs, how far apart the answers are: 2 for A against B, 1 for A or B against both; 0 for clips."""
    spread: float
    """How far apart the runs' standpoints are, from 0 to 2; see `standpoint`."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """All that is known after comparing runs."""

    settings: MetricSettings
    alpha: float
    """Level of significance, for each family."""
    origins: Mapping[str, str]
    """Where each run is from, by label."""
    metric_comparisons: tuple[MetricComparison, ...]
    disagreements: tuple[Disagreement, ...]
    """The greatest first, within each task."""
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        lines = [f"  {one.short}" for one in self.metric_comparisons[:SHOWN_COMPARISONS]]
        more = len(self.metric_comparisons) - len(lines)
        title = f"{type(self).__name__} of {', '.join(self.origins)}"
        return "\n".join([f"<{title}", *lines, *([f"  and {more} more"] if more else [])]) + ">"


SHOWN_COMPARISONS = 24
"""Lines that the representation of a comparison shows."""


def greatest_disagreements(
    samples_of: Mapping[str, Samples], rows_of: Mapping[str, RowView], *, count: int
) -> list[Disagreement]:
    """Return up to `count` rows of a task, the greatest disagreement first.

    Pairs come in the order of how far apart the answers are, and then, as clips do, of how far apart
    the runs' standpoints are.

    Args:
        samples_of: By run; the k-th rows of all runs are the same row.
        rows_of: By run, the same rows as they stand in the files.
        count: At most so many.
    """
    views = compare_views(samples_of)
    run, first = next(iter(samples_of.items()))
    order = np.lexsort((-views.spread, -views.answers))  # NaN comes last
    return [
        Disagreement(
            dataset=first.dataset.name,
            task=first.task.name,
            row=row.number,
            raw=row.raw,
            label=float(first.label[at]),
            predictions={run: float(values[at]) for run, values in views.predictions.items()},
            answers=float(views.answers[at]),
            spread=float(views.spread[at]),
        )
        for at in order[:count].tolist()
        if views.spread[at] > 0 and (row := rows_of[run][at])
    ]


class Views(NamedTuple):
    """How far apart runs are on each row of a task."""

    predictions: Mapping[str, Floats]
    """By run that judges the task, [N]: see `predictions_of`."""
    answers: Floats
    """[N] for pairs, how far apart the answers are, from 0 to 2; 0 for clips."""
    spread: Floats
    """[N] how far apart the standpoints are, from 0 to 2.

    Both are NaN for rows without a label, or without a prediction in every run that judges the task; and everywhere
    where fewer than two runs do.
    """


def compare_views(samples_of: Mapping[str, Samples]) -> Views:
    """Compare what runs say on each row of a task.

    Args:
        samples_of: By run; the k-th rows of all runs are the same row.
    """
    judging = {run: samples for run, samples in samples_of.items() if samples.is_evaluated.any()}
    predictions = {run: predictions_of(samples) for run, samples in judging.items()}
    first = next(iter(samples_of.values()))
    answers, spread = np.full((2, first.label.size), np.nan)
    if len(judging) > 1:
        usable = np.logical_and.reduce([samples.is_labelled & ~samples.is_failed for samples in judging.values()])
        taken = {run: samples.take(usable) for run, samples in judging.items()}
        is_pair = isinstance(first.task, PairTask)
        answers[usable] = np.ptp([samples.prediction for samples in taken.values()], axis=0) if is_pair else 0.0
        spread[usable] = np.ptp([standpoint(one, predictions[run][usable]) for run, one in taken.items()], axis=0)
    return Views(predictions, answers, spread)


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


def predictions_of(samples: Samples) -> Floats:
    """Return [N] scores of clips; margins of pairs (A's score minus B's), or the sides where a file has no scores."""
    if not isinstance(samples.task, PairTask):
        return samples.prediction
    margin = samples.scores[:, 0] - samples.scores[:, 1]
    return np.where(np.isfinite(margin), margin, samples.prediction)
