"""The metrics of a task, by the name they have in the tables."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data.datasets import MosTask, Task
from cmi_bench.evaluation.agreement import accuracy
from cmi_bench.evaluation.correlation import kendall, pearson, spearman
from cmi_bench.evaluation.resampling import WeightedMetric
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.evaluation.statistic import Statistic
from cmi_bench.evaluation.weighted import weighted_accuracy, weighted_kendall, weighted_pearson, weighted_spearman

SRCC = "SRCC"
LCC = "LCC"
K_TAU = "K-Tau"
ACC = "ACC"


class Metric(NamedTuple):
    """A metric: its value over rows, and over resamples of them."""

    value: Callable[[NDArray[np.float64], NDArray[np.float64]], Statistic]
    """From labels [n] and predictions [n] to a number."""
    weighted: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]], WeightedMetric]
    """From labels [n], predictions [n] and clusters [n] to the same number of weighted clusters."""


CORRELATIONS: Mapping[str, Metric] = {
    SRCC: Metric(spearman, weighted_spearman),
    LCC: Metric(pearson, weighted_pearson),
    K_TAU: Metric(kendall, weighted_kendall),
}
AGREEMENTS: Mapping[str, Metric] = {ACC: Metric(accuracy, weighted_accuracy)}


def summary_metrics(task: Task, settings: MetricSettings) -> Mapping[str, Metric]:
    """Return the metrics of a task's line in the summary, in the columns' order."""
    if not isinstance(task, MosTask):
        return AGREEMENTS
    left_out = {LCC: not settings.include_lcc, K_TAU: not settings.include_k_tau}
    return {name: metric for name, metric in CORRELATIONS.items() if not left_out.get(name, False)}


def group_metrics(task: Task) -> Mapping[str, Metric]:
    """Return the one metric of a task's line in the detail table, as in the public files."""
    return {SRCC: CORRELATIONS[SRCC]} if isinstance(task, MosTask) else AGREEMENTS
