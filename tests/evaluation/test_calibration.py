"""The Bradley-Terry scale against statsmodels' logistic regression; calibration by hand; the worst rows."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import percentileofscore
from scored_rows import VALID, clips
from statsmodels.stats.proportion import proportion_confint

from cmi_bench.config import Clustering
from cmi_bench.evaluation import calibration as module
from cmi_bench.evaluation.calibration import (
    bin_count,
    calibration,
    chance_error,
    expected_calibration_error,
    fit_bradley_terry,
    margin_bins,
    worst_clips,
    worst_pairs,
)
from cmi_bench.evaluation.clusters import NOBODY, clusters_of
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.samples import DecidedPairs


def single(n):
    """Each pair of a prompt of its own."""
    return clusters_of(np.arange(n), np.full((n, 2), NOBODY), Clustering.prompt)


def pairs(lead):
    lead = np.asarray(lead, dtype=float)
    return DecidedPairs(np.arange(1, lead.size + 1), lead, np.zeros_like(lead), single(lead.size))


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


def test_accuracies_have_wilsons_bounds_where_there_are_pairs_enough():
    (one,) = margin_bins(pairs([1.0, -3.0, 2.0, 4.0] * 3), 1.0)
    assert one.bounds == pytest.approx(proportion_confint(9, 12, method="wilson"), abs=0.02)
    assert margin_bins(pairs([1.0, -3.0, 2.0, 4.0]), 1.0)[0].bounds is None


def test_bins_of_pairs_that_are_alike_are_less_certain():
    lead = np.repeat(np.random.default_rng(0).choice([-1.0, 1.0], 130), 3)
    alike = clusters_of(np.arange(390) // 3, np.full((390, 2), NOBODY), Clustering.prompt)
    one, other = (margin_bins(each, 2.0)[0].bounds for each in (pairs(lead), pairs(lead)._replace(clusters=alike)))
    assert other.high - other.low > 1.2 * (one.high - one.low)


def test_the_calibration_error_weighs_bins_by_their_pairs():
    small, large = margin_bins(pairs([1.0, -1.0, 9.0, 9.0, 9.0]), 0.0)[0], None
    assert large is None
    low = small._replace(n=10, accuracy=0.5, promised=0.9)
    high = small._replace(n=30, accuracy=0.8, promised=0.9)
    assert expected_calibration_error([low, high]) == pytest.approx((10 * 0.4 + 30 * 0.1) / 40)


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


def prompts(n, *, scale=1.0, seed=0, unseen=0.0):
    """All pairs of three clips of each of n prompts; what people see beside the scores stays with a clip."""
    rng = np.random.default_rng(seed)
    score = rng.standard_normal((n, 3)) * 1.5
    strength = score + unseen * rng.standard_normal((n, 3))
    lead, odds = (np.ravel(one[:, [0, 1, 0]] - one[:, [1, 2, 2]]) for one in (score, strength))
    signed = scale * np.where(rng.random(3 * n) < 1 / (1 + np.exp(-odds)), lead, -lead)
    ids = np.arange(3 * n) // 3
    return pairs(signed)._replace(clusters=clusters_of(ids, np.full((3 * n, 2), NOBODY), Clustering.prompt))


def test_the_likelihood_is_that_of_a_logistic_regression_with_the_scale_given():
    lead = drawn(200).lead
    found = calibration(pairs(lead), beta=1.7)
    model = sm.Logit(np.ones(200), lead[:, None])
    assert found.n == 200
    assert found.nll == pytest.approx(-model.loglike([1.7]) / 200)
    assert found.error == expected_calibration_error(margin_bins(pairs(lead), 1.7))
    assert found.chance_error == chance_error(pairs(lead), 1.7)
    assert found.slope.beta == pytest.approx(fit_bradley_terry(pairs(lead)).beta / 1.7)


def test_scores_that_know_nothing_have_the_likelihood_of_a_coin():
    found = calibration(pairs(np.zeros(10)))
    assert found.nll == pytest.approx(np.log(2))
    assert (found.error, found.slope.beta) == (0.0, None)


def test_margins_beyond_all_measure_have_a_finite_likelihood():
    found = calibration(pairs([1e4, -1e4, 2.0, -1.0]))
    assert found.nll == pytest.approx(1e4 / 4, rel=1e-3)


def test_without_a_pair_nothing_is_promised():
    assert calibration(pairs([])) is None


def test_promises_that_are_kept_and_promises_that_are_too_large_or_too_small():
    """At the size of a validation set of CMI-Pref: a tenth of its 3,527 pairs."""
    found = {scale: [calibration(prompts(117, scale=scale, seed=seed)) for seed in range(8)] for scale in (1, 3, 0.4)}
    ratio = {scale: np.mean([one.error / one.chance_error for one in each]) for scale, each in found.items()}
    assert ratio[1] == pytest.approx(1.0, abs=0.2)
    assert ratio[3] > 1.5
    assert ratio[0.4] > 2
    slope = {scale: np.array([[one.slope.ci_low, one.slope.ci_high] for one in each]) for scale, each in found.items()}
    assert ((slope[1][:, 0] < 1) & (slope[1][:, 1] > 1)).sum() >= 7
    assert (slope[3][:, 1] < 1).all()
    assert (slope[0.4][:, 0] > 1).all()
    assert all(
        np.mean([one.nll for one in found[scale]]) > np.mean([one.nll for one in found[1]]) for scale in (3, 0.4)
    )


@pytest.mark.slow
@pytest.mark.parametrize("unseen", [0.0, 1.5])
def test_the_slopes_interval_holds_where_pairs_share_clips(unseen):
    """What people see beside the scores makes promises too large, alike for all pairs of a clip."""
    truth = fit_bradley_terry(prompts(100_000, unseen=unseen, seed=99)).beta if unseen else 1.0
    assert truth < 0.85 or not unseen
    fits = [calibration(prompts(117, unseen=unseen, seed=seed)).slope for seed in range(400)]
    assert np.mean([one.ci_low < truth < one.ci_high for one in fits]) == pytest.approx(0.95, abs=0.03)


def test_ties_promise_one_half_and_keep_it():
    sample = pairs(np.zeros(50))
    assert expected_calibration_error(margin_bins(sample, 1.0)) == 0.0
    assert chance_error(sample, 1.0) == 0.0


def test_without_a_pair_there_is_no_error():
    assert expected_calibration_error([]) is None
    assert chance_error(pairs([]), 1.0) is None


def drawn_margins(beta, n, *, seed, scale=1.0):
    """Margins of A, and whether A was preferred, from the model itself."""
    rng = np.random.default_rng(seed)
    margin = scale * rng.standard_normal(n)
    return margin, rng.random(n) < 1 / (1 + np.exp(-beta * margin))


@pytest.mark.parametrize(("beta", "n", "scale"), [(2.0, 40, 1.0), (0.0, 60, 5.0), (-30.0, 200, 0.02), (1e-3, 500, 900)])
def test_the_scale_is_that_of_a_logistic_regression_without_intercept(beta, n, scale):
    margin, a_wins = drawn_margins(beta, n, seed=7, scale=scale)
    fit = fit_bradley_terry(pairs(np.where(a_wins, margin, -margin)))
    # In units of the scale, for statsmodels' own optimiser to converge.
    oracle = sm.Logit(a_wins.astype(float), (margin / scale)[:, None]).fit(disp=0, method="newton", tol=1e-14)
    assert fit.beta == pytest.approx(oracle.params[0] / scale, rel=1e-8)
    assert fit.ci_low < fit.beta < fit.ci_high


def test_the_interval_is_the_sandwich_over_prompts():
    margin, a_wins = drawn_margins(1.0, 600, seed=3)
    ids = np.arange(600) // 6
    sample = pairs(np.where(a_wins, margin, -margin))._replace(
        clusters=clusters_of(ids, np.full((600, 2), NOBODY), Clustering.prompt)
    )
    fit = fit_bradley_terry(sample)
    oracle = sm.Logit(a_wins.astype(float), margin[:, None]).fit(disp=0, cov_type="cluster", cov_kwds={"groups": ids})
    # Ours is for few clusters: t, and each cluster without its own pull.
    assert fit.ci_high - fit.ci_low == pytest.approx(2 * 1.984 * oracle.bse[0], rel=0.05)
    assert fit_bradley_terry(drawn(9)).ci_low is None


def test_the_true_scale_is_found_again():
    margin, a_wins = drawn_margins(3.0, 20_000, seed=1)
    fit = fit_bradley_terry(pairs(np.where(a_wins, margin, -margin)))
    assert fit.ci_low < 3.0 < fit.ci_high
    assert fit.ci_high - fit.ci_low < 0.2


@pytest.mark.parametrize(
    ("lead", "reason"),
    [
        ([], "no pair"),
        ([0.0, 0.0], "no pair with different scores"),
        ([1.0], "every pair is right"),
        ([1.0, 0.0, 2.0], "every pair is right"),
        ([-1.0, -2.0], "every pair is wrong"),
        ([-1.0, 0.0, -2.0], "every pair is wrong"),
    ],
)
def test_where_no_finite_scale_is_the_most_likely_there_is_none_and_a_reason(lead, reason):
    fit = fit_bradley_terry(pairs(lead))
    assert (fit.beta, fit.ci_low, fit.ci_high) == (None, None, None)
    assert fit.reason.startswith(reason)


def test_two_opposite_pairs_of_one_margin_are_a_coin():
    assert fit_bradley_terry(pairs([1.0, -1.0])).beta == pytest.approx(0.0, abs=1e-12)


def test_margins_of_very_different_size_do_not_overflow():
    fit = fit_bradley_terry(pairs([1e6, 1e6, -1e-3] * 4))
    assert fit.beta is not None
    assert np.isfinite([fit.beta, fit.ci_low, fit.ci_high]).all()


def samples_of(labels, scores):
    (samples,) = evaluate(clips(labels, scores, **VALID)).samples
    return samples


def test_pairs_come_in_order_of_margin_and_only_where_wrong():
    lead = np.array([2.0, -0.5, 0.0, -3.0, -1.0])
    pairs = DecidedPairs(np.arange(11, 16), lead, np.zeros(5), single(5))
    assert worst_pairs(pairs, 2) == [(14, -3.0), (15, -1.0)]
    assert len(worst_pairs(pairs, 10)) == 3


def test_clips_come_in_order_of_the_distance_of_ranks():
    rng = np.random.default_rng(3)
    labels, scores = rng.choice(np.arange(1, 5.01, 0.5), 30), rng.normal(size=30).round(1)
    worst = worst_clips(samples_of(labels, scores), 30)
    standing = [
        np.array([percentileofscore(values, value, kind="mean") for value in values]) / 100
        for values in (labels, scores)
    ]
    expected = (standing[1] - standing[0]) * 30 / 29
    assert [one.gap for one in worst] == pytest.approx([expected[one.row - 1] for one in worst])
    assert [abs(one.gap) for one in worst] == sorted((abs(one.gap) for one in worst), reverse=True)


def test_a_perfect_order_has_no_mistakes():
    assert worst_clips(samples_of([1.0, 2.0, 3.0], [10, 20, 300]), 5) == []


@pytest.mark.parametrize("n", [0, 1])
def test_one_clip_has_no_standing(n):
    samples = samples_of([1.0, 2.0], [0.1, 0.2]).take(np.arange(n))
    assert worst_clips(samples, 5) == []


def test_the_error_by_chance_of_many_pairs_is_what_drawing_labels_gives(monkeypatch):
    sample = drawn(4000)
    simulated = chance_error(sample, 2.0)
    monkeypatch.setattr(module, "BLOCK_CELLS", 9000)  # two draws at a time, and the same numbers
    assert chance_error(sample, 2.0) == simulated
    monkeypatch.setattr(module, "MOST_SIMULATED", 3999)
    assert chance_error(sample, 2.0) == pytest.approx(simulated, rel=0.03)
