"""Do 95 % intervals hold the true value in 93 to 97 % of experiments? Simulated where it is known."""

import math

import numpy as np
import pytest

from cmi_bench.evaluation.bootstrap import resample, stream
from cmi_bench.evaluation.intervals import percentile_interval
from cmi_bench.evaluation.metrics import metric_by_name

pytestmark = pytest.mark.slow

EXPERIMENTS = 800
RESAMPLES = 600
ROWS = 100
RHO = 0.5
TRUE = {"LCC": RHO, "SRCC": 6 / math.pi * math.asin(RHO / 2), "K-Tau": 2 / math.pi * math.asin(RHO)}
"""Of the bivariate normal distribution (Kendall 1949)."""


def covers(metric, label, prediction, cluster, truth, number):
    n_clusters = int(cluster.max()) + 1
    weighted = {"metric": metric.weighted(label, prediction, cluster)}
    values = resample(
        weighted, n_clusters, resamples=RESAMPLES, generator=stream(number, "coverage"), width=label.size
    )["metric"]
    interval = percentile_interval(values, cluster, 0.95)
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("name", TRUE)
def test_correlations(name):
    generator = np.random.default_rng(0)
    covered = 0
    for number in range(EXPERIMENTS):
        label, noise = generator.normal(size=(2, ROWS))
        prediction = RHO * label + math.sqrt(1 - RHO**2) * noise
        covered += covers(metric_by_name(name), label, prediction, np.arange(ROWS), TRUE[name], number)
    assert 0.93 <= covered / EXPERIMENTS <= 0.97


def pairs(generator, n_prompts, rows_of_prompt):
    """Predictions that are right with a probability that each prompt has of its own, 0.7 in the mean."""
    chance = np.repeat(generator.beta(2.8, 1.2, n_prompts), rows_of_prompt)
    return np.where(generator.random(chance.size) < chance, 1.0, -1.0)


def accuracy_coverage(cluster_of):
    generator = np.random.default_rng(0)
    covered = 0
    for number in range(EXPERIMENTS):
        prediction = pairs(generator, 100, 4)
        covered += covers(
            metric_by_name("ACC"), np.ones(400), prediction, cluster_of(np.arange(400)), 2.8 / (2.8 + 1.2), number
        )
    return covered / EXPERIMENTS


def test_accuracy_with_prompts_that_repeat():
    assert 0.93 <= accuracy_coverage(lambda row: row // 4) <= 0.97


def test_rows_taken_for_independent_where_they_are_not_promise_too_much():
    assert accuracy_coverage(lambda row: row) < 0.9
