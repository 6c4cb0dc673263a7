"""Correlations against definitions written out, with ties."""

import itertools
import math
import warnings

import numpy as np
import pytest

from cmi_bench.evaluation.metrics import kendall, pearson, spearman

CORRELATIONS = [spearman, pearson, kendall]


def pearson_by_hand(x, y):
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    products = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return products / math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))


def mean_ranks(values):
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def kendall_by_hand(x, y):
    pairs = list(itertools.combinations(zip(x, y, strict=True), 2))
    sign = [np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in pairs]
    untied_x = sum(a[0] != b[0] for a, b in pairs)
    untied_y = sum(a[1] != b[1] for a, b in pairs)
    return sum(sign) / math.sqrt(untied_x * untied_y)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_against_the_definitions_with_many_few_and_no_ties(seed, decimals):
    generator = np.random.default_rng(seed)
    label = np.round(generator.uniform(1, 5, 25), decimals)
    prediction = np.round(label + generator.normal(0, 1, 25), decimals)
    x, y = label.tolist(), prediction.tolist()
    assert pearson(label, prediction).value == pytest.approx(pearson_by_hand(x, y), abs=1e-12)
    assert spearman(label, prediction).value == pytest.approx(pearson_by_hand(mean_ranks(x), mean_ranks(y)), abs=1e-12)
    assert kendall(label, prediction).value == pytest.approx(kendall_by_hand(x, y), abs=1e-12)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("slope", [1, -1])
def test_a_straight_line_is_one(correlation, slope):
    label = np.array([1.0, 2.0, 2.5, 4.0])
    assert correlation(label, slope * label).value == pytest.approx(slope)
    assert correlation(label[:2], slope * label[:2]).value == pytest.approx(slope)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize(
    ("label", "prediction", "reason"),
    [
        ([], [], "no row"),
        ([3.0], [1.0], "one row only"),
        ([1.0, 2.0, 3.0], [0.5, 0.5, 0.5], "constant prediction"),
        ([2.0, 2.0, 2.0], [0.1, 0.2, 0.3], "constant label"),
    ],
)
def test_undefined_says_why_and_warns_of_nothing(correlation, label, prediction, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        statistic = correlation(np.array(label), np.array(prediction))
    assert statistic == (None, reason)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_nearly_constant_and_huge_values_warn_of_nothing(correlation):
    label = np.array([1.0, 2.0, 3.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for prediction in (1.0 + np.array([0, 1, 2]) * 2.3e-16, np.array([-1.7e308, 0.0, 1.7e308])):
            statistic = correlation(label, prediction)
            assert (statistic.value is None) == bool(statistic.reason)


def test_infinite_scores_have_a_rank_and_no_line():
    label, prediction = np.array([1.0, 2.0, 3.0]), np.array([-np.inf, 0.0, np.inf])
    assert spearman(label, prediction).value == pytest.approx(1.0)
    assert kendall(label, prediction).value == pytest.approx(1.0)
    assert pearson(label, prediction) == (None, "an infinite score")
