import numpy as np
import pytest
from scipy.stats import binomtest

from cmi_bench.evaluation.calibration import (
    bin_count,
    chance_error,
    expected_calibration_error,
    fit_bradley_terry,
    margin_bins,
)
from cmi_bench.evaluation.samples import DecidedPairs


def pairs(lead):
    lead = np.asarray(lead, dtype=float)
    return DecidedPairs(np.arange(1, lead.size + 1), lead, np.zeros_like(lead))


def drawn(n, *, beta=2.0, seed=0):
    rng = np.random.default_rng(seed)
    margin = np.abs(rng.standard_normal(n))
    return pairs(np.where(rng.random(n) < 1 / (1 + np.exp(-beta * margin)), margin, -margin))


@pytest.mark.parametrize(("n", "bins"), [(0, 1), (1, 1), (2, 1), (36, 3), (100, 5), (400, 10), (1340, 10)])
def test_more_pairs_more_bins(n, bins):
    assert bin_count(n) == bins
    assert len(margin_bins(drawn(n), 1.0)) == (bins if n else 0)


def test_bins_hold_every_pair_once_in_rising_order():
    bins = margin_bins(drawn(1340), 2.0)
    assert sum(one.n for one in bins) == 1340
    assert {one.n for one in bins} == {134}
    edges = [edge for one in bins for edge in (one.low, one.margin, one.high)]
    assert edges == sorted(edges)


def test_a_bin_by_hand():
    (one,) = margin_bins(pairs([1.0, -3.0, 2.0, 0.0]), np.log(3))
    assert (one.n, one.low, one.high, one.margin) == (4, 0.0, 3.0, 1.5)
    assert one.accuracy == (1 + 0 + 1 + 0.5) / 4
    # sigmoid(k log 3) = 3^k / (1 + 3^k)
    assert one.promised == pytest.approx((3 / 4 + 27 / 28 + 9 / 10 + 1 / 2) / 4)
    assert expected_calibration_error([one]) == pytest.approx(abs(one.accuracy - one.promised))


def test_accuracies_have_exact_bounds_where_nothing_is_tied():
    (one,) = margin_bins(pairs([1.0, -3.0, 2.0, 4.0]), 1.0)
    assert one.bounds == pytest.approx(tuple(binomtest(3, 4).proportion_ci(method="exact")))
    (tied,) = margin_bins(pairs([1.0, 0.0]), 1.0)
    assert tied.bounds is None


def test_the_error_of_labels_drawn_from_the_curve_is_that_of_chance():
    found = []
    for seed in range(40):
        sample = drawn(600, seed=seed)
        found.append(expected_calibration_error(margin_bins(sample, 2.0)))
    assert np.mean(found) == pytest.approx(chance_error(sample, 2.0), rel=0.1)


def test_scores_that_promise_too_much_stand_out_against_chance():
    sample = drawn(1340)
    beta = fit_bradley_terry(sample).beta
    assert expected_calibration_error(margin_bins(sample, beta)) < 2 * chance_error(sample, beta)
    assert expected_calibration_error(margin_bins(sample, 5 * beta)) > 5 * chance_error(sample, 5 * beta)


def test_ties_promise_one_half_and_keep_it():
    sample = pairs(np.zeros(50))
    assert expected_calibration_error(margin_bins(sample, 1.0)) == 0.0
    assert chance_error(sample, 1.0) == 0.0


def test_without_a_pair_there_is_no_error():
    assert expected_calibration_error([]) is None
    assert chance_error(pairs([]), 1.0) is None
