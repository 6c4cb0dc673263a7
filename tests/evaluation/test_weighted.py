"""Metrics of weighted rows against SciPy on the resamples written out."""

import numpy as np
import pytest
import scipy.stats

from cmi_bench.evaluation.bootstrap import resample, stream
from cmi_bench.evaluation.metrics import credit, metric_by_name

ORACLES = {
    "SRCC": lambda x, y: scipy.stats.spearmanr(x, y).statistic,
    "LCC": lambda x, y: scipy.stats.pearsonr(x, y).statistic,
    "K-Tau": lambda x, y: scipy.stats.kendalltau(x, y).statistic,
}


def written_out(values, weights, cluster):
    return np.repeat(values, weights[cluster].astype(int))


def draws(n_clusters, count, seed=0):
    return np.random.default_rng(seed).multinomial(n_clusters, [1 / n_clusters] * n_clusters, size=count).T * 1.0


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("n_clusters", [40, 9])
@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_correlations_are_those_of_the_rows_written_out(name, n_clusters, decimals):
    generator = np.random.default_rng(decimals)
    label = np.round(generator.uniform(1, 5, 40), decimals)
    prediction = np.round(1e3 * (label + generator.normal(0, 1, 40)), decimals)
    cluster = generator.permutation(np.arange(40) % n_clusters)
    weights = draws(n_clusters, 60)
    found = metric_by_name(name).weighted(label, prediction, cluster)(weights)
    expected = [
        ORACLES[name](written_out(label, column, cluster), written_out(prediction, column, cluster))
        for column in weights.T
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_clusters", [30, 7])
def test_accuracy_is_that_of_the_rows_written_out(n_clusters):
    generator = np.random.default_rng(1)
    label, prediction = generator.choice([1.0, 0.0, -1.0], 30), generator.choice([1.0, 0.0, -1.0, np.nan], 30)
    cluster = generator.permutation(np.arange(30) % n_clusters)
    weights = draws(n_clusters, 50)
    found = metric_by_name("ACC").weighted(label, prediction, cluster)(weights)
    expected = [written_out(credit(label, prediction), column, cluster).mean() for column in weights.T]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300, 0.1 + 1e-9])
def test_a_resample_without_spread_is_undefined_and_no_other(name, scale):
    label, prediction = np.array([0.1, 0.2, 0.3, 0.3]), scale * np.array([0.7, 0.7, 0.7, 0.1])
    weights = np.array([[1, 1, 1, 1], [4, 0, 0, 0], [2, 2, 0, 0], [0, 0, 2, 2], [1, 0, 0, 3], [0, 0, 0, 4]]).T * 1.0
    found = metric_by_name(name).weighted(label, prediction, np.arange(4))(weights)
    assert np.isnan(found).tolist() == [False, True, True, True, False, True]


@pytest.mark.parametrize("name", ORACLES)
def test_resamples_of_equal_values_are_undefined_whatever_rounding_leaves_of_their_variance(name):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        label, prediction = generator.normal(size=12), generator.normal(size=12)
        label[:6] = label[0]
        weights = np.concatenate([draws(6, 8, seed), np.zeros((6, 8))])
        both_ways = ((label, prediction), (prediction, label))
        for found in (metric_by_name(name).weighted(*values, np.arange(12))(weights) for values in both_ways):
            assert np.isnan(found).all()


@pytest.mark.parametrize("outlier", [1e6, -1e12])
def test_an_outlier_does_not_spoil_the_resamples_without_it(outlier):
    generator = np.random.default_rng(0)
    label, prediction = generator.uniform(1, 5, 30), generator.normal(size=30)
    prediction[0] = outlier
    weights = draws(30, 40)
    weights[1] += weights[0]
    weights[0] = 0
    found = metric_by_name("LCC").weighted(label, prediction, np.arange(30))(weights)
    expected = [
        scipy.stats.pearsonr(np.repeat(label, column.astype(int)), np.repeat(prediction, column.astype(int)))[0]
        for column in weights.T
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["SRCC", "K-Tau"])
def test_infinite_scores_have_a_rank(name):
    label, prediction = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-np.inf, 0.0, np.inf, np.inf])
    finite = np.array([-9.0, 0.0, 9.0, 9.0])
    weights = draws(4, 30)
    with np.errstate(invalid="raise"):
        metric = metric_by_name(name).weighted
        np.testing.assert_array_equal(
            metric(label, prediction, np.arange(4))(weights), metric(label, finite, np.arange(4))(weights)
        )


def test_each_resample_draws_as_many_clusters_as_there_are():
    seen = resample({"w": lambda weights: weights.sum(axis=0)}, 12, resamples=500, generator=stream(0), width=1)
    assert set(seen["w"]) == {12.0}
    first = resample({"w": lambda weights: weights[0]}, 12, resamples=20000, generator=stream(0), width=1)["w"]
    expected = scipy.stats.binom.pmf(np.arange(4), 12, 1 / 12)
    found = [(first == count).mean() for count in range(4)]
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_the_block_size_changes_nothing():
    first = {"w": lambda weights: weights[0] + 100 * weights[5]}
    narrow, wide = (
        resample(first, 9, resamples=3000, generator=stream(1, "x"), width=width)["w"] for width in (1, 5000)
    )
    np.testing.assert_array_equal(narrow, wide)


def test_a_place_has_the_same_stream_on_every_machine():
    pinned = [889, 182, 556, 800]
    assert stream(0, "PAM", "musicality").integers(0, 1000, 4).tolist() == pinned
    assert stream(1, "PAM", "musicality").integers(0, 1000, 4).tolist() != pinned
    assert stream(0, "PAM", "alignment").integers(0, 1000, 4).tolist() != pinned
