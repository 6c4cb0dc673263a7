"""The metrics: agreement of predictions with people's labels, each registered under its name in the tables.

SRCC, LCC and K-Tau correlate predictions with mean opinion scores; ACC is the mean credit of answers to
preferences, where a side is a number: 1 for clip A, -1 for clip B, 0 for both, NaN for none. Tables, plots, MLflow
and sweeps go over `all_metrics()`; another metric is added by `register_metric(Metric(...))`.
"""

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import MosTask, PairTask, Task
from cmi_bench.data.fields import Preference
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.evaluation.resampling import Floats, LeftOut, left_out_kendall, left_out_pearson, left_out_spearman

# `scipy` loads its `stats` when that is first used (1 s), so importing this module stays quick.


class Statistic(NamedTuple):
    """The value of a metric over some rows."""

    value: float | None
    """None where the metric is undefined."""
    reason: str = ""
    """Why it is undefined; empty where there is a value."""


def undefined(reason: str) -> Statistic:
    """Return a statistic without a value."""
    return Statistic(None, reason)


class Shown(Flag):
    """The tables that have a column for a metric."""

    SUMMARY = auto()
    """Summary table, intervals, report, MLflow, sweeps: a line for each dataset and task."""
    DETAIL = auto()
    """Detail table and plots of groups."""
    LEADERBOARD = auto()
    """Leaderboard and LaTeX lines, beside the paper's figures."""
    HEADLINE = auto()
    """Where one number has to stand for a task; one metric of each kind of task."""


EVERYWHERE = Shown.SUMMARY | Shown.DETAIL | Shown.LEADERBOARD | Shown.HEADLINE


@dataclass(frozen=True)
class Metric:
    """A metric of one kind of task."""

    name: str
    """As in the tables, where it names the column."""
    task_type: type[MosTask] | type[PairTask]
    """The kind of task it is a metric of."""
    value: Callable[[Floats, Floats], Statistic]
    """From labels [n] and predictions [n] to a number; higher is better."""
    left_out: LeftOut | None = None
    """Of a correlation, in [-1, 1] and smooth: from labels [n], predictions [n] and clusters [n] to its value without
    each cluster; then it gets jackknife intervals and tests on Fisher's scale. Without it they are from the bootstrap,
    which asks nothing of the metric."""
    credit: Callable[[Floats, Floats], Floats] | None = None
    """From labels [n] and predictions [n] to the credits of the rows, in {0, 0.5, 1}, where the metric is their mean:
    then it gets Wilson's intervals and exact tests."""
    is_of_systems: bool = False
    """Whether its labels and predictions are the means over the clips of each system, as papers report it."""
    chance: float = 0.0
    """What a model that knows nothing gets."""
    shown: Shown = Shown.SUMMARY | Shown.LEADERBOARD
    is_percent: bool = False
    """Whether LaTeX and leaderboard show it in percent."""
    switch: str = ""
    """The setting of `MetricSettings` that leaves it out of the summary when false; empty for none."""
    paper_position: float = math.inf
    """Its place among the columns of the paper's tables; those without one follow."""


_NAME = re.compile(r"[\w.\- ]+", re.ASCII)
_metrics: dict[str, Metric] = {}
"""By name, in the tables' order."""


def register_metric(metric: Metric) -> Metric:
    """Add a metric to the tables, behind those that are there.

    Raises:
        ValueError: Its name is taken or cannot be a name, or its switch is no setting of `MetricSettings`.
    """
    if metric.name in _metrics:
        raise ValueError(f"There is a metric {metric.name!r} already.")
    if not _NAME.fullmatch(metric.name):
        raise ValueError(f"{metric.name!r} cannot be a name: use letters, digits, '_', '.', '-' and spaces.")
    if metric.switch and not hasattr(MetricSettings, metric.switch):
        raise ValueError(f"{metric.switch!r} is no setting of MetricSettings.")
    _metrics[metric.name] = metric
    return metric


def all_metrics(shown: Shown = Shown.SUMMARY) -> tuple[Metric, ...]:
    """Return the metrics that have a column in some table, in the tables' order."""
    return tuple(metric for metric in _metrics.values() if shown in metric.shown)


def metric_by_name(name: str) -> Metric:
    """Return a metric.

    Raises:
        UserError: There is none of that name.
    """
    try:
        return _metrics[name]
    except KeyError:
        raise UserError(f"There is no metric {name!r}.", did_you_mean(name, _metrics)) from None


def metrics_of(task: Task, shown: Shown = Shown.SUMMARY, settings: MetricSettings | None = None) -> tuple[Metric, ...]:
    """Return the metrics of a task that some table shows, in the tables' order.

    Args:
        task: The task.
        shown: Which table.
        settings: Leaves metrics out whose switch is off; None leaves none out.
    """
    return tuple(
        metric
        for metric in all_metrics(shown)
        if isinstance(task, metric.task_type)
        and (settings is None or not metric.switch or getattr(settings, metric.switch))
    )


def headline_metric(task: Task) -> Metric:
    """Return the metric that stands for a task where one number has to do."""
    return metrics_of(task, Shown.HEADLINE)[0]


def leaderboard_metrics(task: Task) -> tuple[Metric, ...]:
    """Return the metrics of a task in the leaderboard and in LaTeX, in the order of the paper's columns."""
    return tuple(sorted(metrics_of(task, Shown.LEADERBOARD), key=lambda metric: metric.paper_position))


class MetricKey(NamedTuple):
    """The name of one number of the summary; as text, e.g. "PAM/musicality/SRCC"."""

    dataset: str
    task: str
    metric: str

    def __str__(self) -> str:
        return "/".join(self)


CI_LOW, CI_HIGH = "_ci_low", "_ci_high"
EXACT_LOW, EXACT_HIGH = "_exact_low", "_exact_high"


def metric_columns(metric: str) -> tuple[str, str, str]:
    """Return the names of a metric's columns: its value, and the two ends of its interval."""
    return metric, metric + CI_LOW, metric + CI_HIGH


def exact_columns(metric: str) -> tuple[str, str]:
    """Return the names of the columns of a metric's exact interval."""
    return metric + EXACT_LOW, metric + EXACT_HIGH


SIDE = {Preference.A: 1.0, Preference.BOTH: 0.0, Preference.B: -1.0}


def credit(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's credit: equal 1, exactly one of them "both" 0.5, else 0; no prediction 0.

    Args:
        label: [n] sides, without NaN.
        prediction: [n] sides, NaN where the prediction failed.

    Returns:
        [n] in {0, 0.5, 1}.

    >>> import numpy as np
    >>> credit(np.array([1.0, 1.0, 1.0, 0.0, 1.0]), np.array([1.0, -1.0, 0.0, 0.0, np.nan])).tolist()
    [1.0, 0.0, 0.5, 1.0, 0.0]
    """
    # Sides are -1, 0 and 1, so half their distance is what is lost.
    return np.nan_to_num(1.0 - np.abs(label - prediction) / 2.0, nan=0.0)


def accuracy(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return ACC, the mean credit.

    Args:
        label: [n] sides, without NaN.
        prediction: [n] sides, NaN where the prediction failed.

    Returns:
        In [0, 1]; undefined without rows.
    """
    return Statistic(float(credit(label, prediction).mean())) if label.size else undefined("no row")


def spearman(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return SRCC, Spearman's rank correlation (tied values share their mean rank).

    Args:
        label: [n] mean opinion scores.
        prediction: [n] scores of the same rows; infinite ones rank first or last.

    Returns:
        In [-1, 1]; undefined for fewer than two rows or a constant input.

    >>> import numpy as np
    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 9.0])).value
    1.0
    """
    return correlate(label, prediction, _rank_correlation)


MANY_ROWS = 100_000
"""Above so many rows ranks are correlated in place: SciPy takes 100 bytes a row."""


def _rank_correlation(x: Floats, y: Floats) -> float:
    if x.size <= MANY_ROWS:
        return float(scipy.stats.spearmanr(x, y).statistic)
    ranks_x, ranks_y = (scipy.stats.rankdata(values) for values in (x, y))
    for ranks in (ranks_x, ranks_y):
        ranks -= (x.size + 1) / 2  # their mean, whatever the ties
    return float((ranks_x @ ranks_y) / math.sqrt((ranks_x @ ranks_x) * (ranks_y @ ranks_y)))


def pearson(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return LCC, Pearson's linear correlation.

    Args:
        label: [n] mean opinion scores.
        prediction: [n] scores of the same rows.

    Returns:
        In [-1, 1]; undefined for fewer than two rows, or a constant or infinite input.
    """
    if not (np.isfinite(label).all() and np.isfinite(prediction).all()):
        return undefined("an infinite score")
    return correlate(label, prediction, lambda x, y: scipy.stats.pearsonr(x, y).statistic)


def kendall(label: NDArray[np.float64], prediction: NDArray[np.float64]) -> Statistic:
    """Return K-Tau, Kendall's tau-b (corrected for ties on both sides).

    Args:
        label: [n] mean opinion scores.
        prediction: [n] scores of the same rows.

    Returns:
        In [-1, 1]; undefined for fewer than two rows or a constant input.
    """
    return correlate(label, prediction, lambda x, y: scipy.stats.kendalltau(x, y).statistic)


def correlate(
    label: NDArray[np.float64],
    prediction: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], Any],
) -> Statistic:
    """Return a correlation, undefined for fewer than two rows, a constant input, or where it comes out as NaN.

    Args:
        label: [n] mean opinion scores.
        prediction: [n] scores of the same rows.
        statistic: The correlation of two arrays [n] that are not constant.
    """
    if label.size < 2:
        return undefined("no row" if label.size == 0 else "one row only")
    for name, values in (("label", label), ("prediction", prediction)):
        if (values == values[0]).all():
            return undefined(f"constant {name}")
    # SciPy warns of p-values for tiny n and of nearly constant input; the number itself is checked below.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = float(statistic(label, prediction))
    return undefined("nearly constant or overflowing values") if math.isnan(value) else Statistic(value)


SRCC, LCC, K_TAU, ACC = "SRCC", "LCC", "K-Tau", "ACC"

register_metric(Metric(SRCC, MosTask, spearman, left_out_spearman, shown=EVERYWHERE, paper_position=1))
register_metric(Metric(LCC, MosTask, pearson, left_out_pearson, switch="include_lcc", paper_position=0))
register_metric(Metric(K_TAU, MosTask, kendall, left_out_kendall, switch="include_k_tau", paper_position=2))
register_metric(
    Metric(
        ACC,
        PairTask,
        accuracy,
        credit=credit,
        chance=0.5,
        shown=EVERYWHERE,
        is_percent=True,
        paper_position=0,
    )
)
for _name, _value, _left_out in (
    (SRCC, spearman, left_out_spearman),
    (LCC, pearson, left_out_pearson),
    (K_TAU, kendall, left_out_kendall),
):
    register_metric(
        Metric(
            f"System {_name}",
            MosTask,
            _value,
            _left_out,
            is_of_systems=True,
            shown=Shown.SUMMARY,
            switch="include_systems",
        )
    )
