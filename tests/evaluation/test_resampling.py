"""Metrics without each cluster against SciPy on the rows that remain; the bootstrap against its own distribution."""

import numpy as np
import pytest
import scipy.stats

from cmi_bench.evaluation.metrics import metric_by_name
from cmi_bench.evaluation.resampling import (
    GROUPS,
    MANY_ROWS,
    bootstrap,
    concordance,
    jackknife_groups,
    left_out_kendall,
    left_out_somers,
    stream,
)

ORACLES = {
    "SRCC": lambda x, y: scipy.stats.spearmanr(x, y).statistic,
    "LCC": lambda x, y: scipy.stats.pearsonr(x, y).statistic,
    "K-Tau": lambda x, y: scipy.stats.kendalltau(x, y).statistic,
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("n_clusters", [40, 9])
@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_without_a_cluster_is_as_over_the_remaining_rows(name, n_clusters, decimals):
    generator = np.random.default_rng(decimals)
    label = np.round(generator.uniform(1, 5, 40), decimals)
    prediction = np.round(1e3 * (label + generator.normal(0, 1, 40)), decimals)
    ids = generator.permutation(np.arange(40) % n_clusters)
    found = metric_by_name(name).left_out(label, prediction, ids)
    expected = [ORACLES[name](label[ids != one], prediction[ids != one]) for one in range(n_clusters)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300, 0.1 + 1e-9])
def test_rows_without_spread_are_undefined_and_no_others(name, scale):
    label, prediction = np.array([0.1, 0.2, 0.3, 0.3]), scale * np.array([0.7, 0.7, 0.7, 0.1])
    found = metric_by_name(name).left_out(label, prediction, np.arange(4))
    assert np.isnan(found).tolist() == [False, False, False, True]
    assert np.isnan(metric_by_name(name).left_out(label, prediction, np.array([0, 1, 1, 1]))).tolist() == [False, True]


@pytest.mark.parametrize("name", ORACLES)
def test_equal_values_that_remain_are_undefined_whatever_rounding_leaves_of_their_variance(name):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        label, prediction = generator.normal(size=12), generator.normal(size=12)
        label[:6] = label[0]
        ids = np.repeat([0, 1], 6)
        for values in ((label, prediction), (prediction, label)):
            assert np.isnan(metric_by_name(name).left_out(*values, ids)).tolist() == [False, True]


@pytest.mark.parametrize("outlier", [1e6, -1e12])
def test_an_outlier_takes_no_digits_of_the_rows_without_it(outlier):
    generator = np.random.default_rng(0)
    label, prediction = generator.uniform(1, 5, 30), generator.normal(size=30)
    prediction[0] = outlier
    found = metric_by_name("LCC").left_out(label, prediction, np.arange(30))[0]
    assert found == pytest.approx(scipy.stats.pearsonr(label[1:], prediction[1:]).statistic, abs=1e-10)


@pytest.mark.parametrize("name", ["SRCC", "K-Tau"])
def test_infinite_scores_have_a_rank(name):
    label, prediction = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-np.inf, 0.0, np.inf, np.inf])
    finite = np.array([-9.0, 0.0, 9.0, 9.0])
    with np.errstate(invalid="raise"):
        left_out = metric_by_name(name).left_out
        np.testing.assert_array_equal(left_out(label, prediction, np.arange(4)), left_out(label, finite, np.arange(4)))


@pytest.mark.parametrize("levels", [1, 2, 5, 100])
def test_concordance_is_counted_as_by_comparing_all_rows(levels):
    generator = np.random.default_rng(levels)
    x, y = generator.integers(0, levels, (2, 60))
    expected = (np.sign(x[:, None] - x) * np.sign(y[:, None] - y)).sum(axis=1)
    np.testing.assert_array_equal(concordance(x, y), expected)


def test_large_clusters_are_counted_as_small_ones():
    generator = np.random.default_rng(0)
    label, prediction = generator.integers(0, 30, (2, 1500)).astype(float)
    ids = np.array([0] * 1200 + [1] * 299 + [2])
    expected = [scipy.stats.kendalltau(label[ids != one], prediction[ids != one]).statistic for one in range(3)]
    np.testing.assert_allclose(left_out_kendall(label, prediction, ids), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [MANY_ROWS - 1, MANY_ROWS, MANY_ROWS + 1])
def test_no_cluster_falls_between_large_and_small(size):
    generator = np.random.default_rng(size)
    label, prediction = generator.integers(0, 9, (2, 2 * size)).astype(float)
    ids = np.repeat([0, 1], [size, size])
    expected = [scipy.stats.kendalltau(label[ids != one], prediction[ids != one]).statistic for one in (0, 1)]
    np.testing.assert_allclose(left_out_kendall(label, prediction, ids), expected, atol=1e-12)


def test_many_clusters_are_left_out_in_groups_of_nearly_equal_number():
    few = np.arange(500)
    assert jackknife_groups(few, stream(0)) is few
    groups = jackknife_groups(np.repeat(np.arange(1000), 3), stream(0))
    assert (np.bincount(groups) == 15).all()
    assert np.unique(groups).size == GROUPS
    assert (groups.reshape(1000, 3) == groups[::3, None]).all()  # rows of a cluster stay together


def test_each_resample_draws_as_many_clusters_as_there_are():
    ids = np.repeat(np.arange(12), 2)
    drawn = []
    sizes = bootstrap(lambda rows: drawn.append(rows) or rows.size, ids, resamples=3000, generator=stream(0))
    assert set(sizes) == {24.0}
    first = np.array([(rows == 0).sum() for rows in drawn])
    assert all((rows == 1).sum() == count for rows, count in zip(drawn, first, strict=True))
    expected = scipy.stats.binom.pmf(np.arange(4), 12, 1 / 12)
    np.testing.assert_allclose([(first == count).mean() for count in range(4)], expected, atol=0.03)


def test_a_resample_without_value_is_nan():
    found = bootstrap(lambda rows: None if (rows == 0).any() else 1.0, np.arange(5), resamples=50, generator=stream(0))
    assert 0 < np.isnan(found).sum() < 50


def test_a_place_has_the_same_stream_on_every_machine():
    pinned = [889, 182, 556, 800]
    assert stream(0, "PAM", "musicality").integers(0, 1000, 4).tolist() == pinned
    assert stream(1, "PAM", "musicality").integers(0, 1000, 4).tolist() != pinned
    assert stream(0, "PAM", "alignment").integers(0, 1000, 4).tolist() != pinned


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_somers_d_without_a_cluster_is_as_over_the_remaining_rows(decimals):
    generator = np.random.default_rng(decimals)
    error = (generator.random(40) < 0.4).astype(float)
    doubt = np.round(generator.normal(0, 1, 40) + error, decimals)
    ids = generator.permutation(np.arange(40) % 9)
    expected = [scipy.stats.somersd(error[ids != one], doubt[ids != one]).statistic for one in range(9)]
    np.testing.assert_allclose(left_out_somers(error, doubt, ids), expected, rtol=0, atol=1e-12)


def test_somers_d_without_the_only_error_is_undefined():
    found = left_out_somers(np.array([1.0, 0.0, 0.0]), np.array([3.0, 1.0, 2.0]), np.arange(3))
    assert np.isnan(found).tolist() == [True, False, False]


def test_a_resample_has_the_rows_of_its_clusters_one_after_the_other():
    ids = np.array([1, 0, 2, 1, 1])
    drawn = []
    bootstrap(lambda rows: drawn.append(rows.tolist()) or 0.0, ids, resamples=50, generator=stream(3))
    generator, members = stream(3), {0: [1], 1: [0, 3, 4], 2: [2]}
    assert drawn == [[row for one in generator.integers(0, 3, 3).tolist() for row in members[one]] for _ in drawn]
