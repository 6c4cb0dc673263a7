"""Intervals and tests of accuracies: against statsmodels and SciPy, by enumeration, and at the edges."""

import itertools

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from cmi_bench.config import Clustering
from cmi_bench.evaluation.clusters import NOBODY, clusters_of
from cmi_bench.evaluation.proportions import (
    clopper_pearson,
    clustered_t_test,
    difference_interval,
    sign_flip_test,
    sign_test,
    wilson_interval,
)


def prompts(ids):
    ids = np.asarray(ids)
    return clusters_of(ids, np.full((ids.size, 2), NOBODY), Clustering.prompt)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (975, 1340)])
@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_clopper_pearson_is_that_of_statsmodels(successes, n, confidence):
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="beta")
    assert clopper_pearson(successes, n, confidence=confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (5, 5), (3, 12), (30, 11), (200, 260)])
def test_the_sign_test_is_mcnemars_exact_test(better, worse):
    table = [[50, better], [worse, 70]]
    # Without a row that differs statsmodels divides nothing by nothing; nothing speaks for a difference.
    expected = mcnemar(table, exact=True).pvalue if better + worse else 1.0
    assert sign_test(better, worse) == pytest.approx(expected, abs=1e-12)
    assert sign_test(worse, better) == sign_test(better, worse)


@pytest.mark.parametrize("right", [0, 1, 60, 119, 120])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_independent_rows_have_wilsons_interval(right, confidence):
    credit = np.repeat([1.0, 0.0], [right, 120 - right])
    expected = proportion_confint(right, 120, alpha=1 - confidence, method="wilson")
    # Estimated over 120 clusters, the variance is 120/119 of the binomial one.
    found = wilson_interval(credit, prompts(np.arange(120)), confidence=confidence)
    assert found == pytest.approx(expected, abs=1e-3)
    assert 0 <= found.low <= right / 120 <= found.high <= 1


def test_rows_that_repeat_their_prompt_are_worth_one():
    answers = np.random.default_rng(0).integers(0, 2, 60).astype(float)
    once = wilson_interval(answers, prompts(np.arange(60)), confidence=0.95)
    five_times = wilson_interval(np.repeat(answers, 5), prompts(np.repeat(np.arange(60), 5)), confidence=0.95)
    assert five_times == pytest.approx(once, abs=0.01)


def test_the_effective_rows_are_those_of_the_design_effect():
    generator = np.random.default_rng(3)
    ids = np.repeat(np.arange(12), 4)
    credit = (generator.random(48) < np.repeat(generator.beta(1, 1, 12), 4)).astype(float)
    mean = credit.mean()
    sums = np.bincount(ids, credit - mean)
    effect = 12 / 11 * np.square(sums).sum() / (48 * mean * (1 - mean))
    informative = min((np.bincount(ids, credit) > 0).sum(), (np.bincount(ids, 1 - credit) > 0).sum())
    effect = (informative**2 * effect + 4) / (informative**2 + 1)
    quantile = scipy.stats.t.ppf(0.975, 11 * 4 / 3)
    rows = 48 / effect
    reach = quantile * np.sqrt(mean * (1 - mean) / rows + (quantile / rows / 2) ** 2) / (1 + quantile**2 / rows)
    found = wilson_interval(credit, prompts(ids), confidence=0.95)
    assert found.high - found.low == pytest.approx(2 * reach, rel=1e-9)


def test_a_perfect_accuracy_is_worth_as_many_rows_as_prompts():
    credit = np.ones(100)
    assert wilson_interval(credit, prompts(np.arange(100) // 5), confidence=0.95).low < 0.85
    assert wilson_interval(credit, prompts(np.arange(100)), confidence=0.95).low > 0.95


def test_half_credits_vary_less_and_never_not_at_all():
    halves = wilson_interval(np.full(40, 0.5), prompts(np.arange(40)), confidence=0.95)
    coins = wilson_interval(np.repeat([0.0, 1.0], 20), prompts(np.arange(40)), confidence=0.95)
    assert 0 < halves.high - halves.low < (coins.high - coins.low) / 2
    assert halves.low < 0.5 < halves.high


def test_the_interval_of_a_difference_is_bonett_and_prices_over_independent_rows():
    better, worse, n = 30, 15, 150
    difference = np.repeat([1.0, -1.0, 0.0], [better, worse, n - better - worse])
    p12, p21 = (better + 0.5) / (n + 1), (worse + 0.5) / (n + 1)
    reach = 1.96 * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 1))
    found = difference_interval(difference, prompts(np.arange(n)), confidence=0.95)
    assert found == pytest.approx((p12 - p21 - reach, p12 - p21 + reach), abs=1e-3)
    assert difference_interval(-difference, prompts(np.arange(n)), confidence=0.95) == pytest.approx(
        (-found.high, -found.low)
    )


@pytest.mark.parametrize("seed", range(6))
def test_sign_flips_are_enumerated(seed):
    sums = np.random.default_rng(seed).integers(-5, 6, 9) / 2
    sums[:6] = np.where(sums[:6] == 0, 1.5, sums[:6])
    totals = np.array([np.dot(signs, sums) for signs in itertools.product([1, -1], repeat=9)])
    observed = abs(sums.sum())
    expected = (np.abs(totals) > observed + 1e-9).mean() + (np.abs(np.abs(totals) - observed) < 1e-9).mean() / 2
    # All that is left at 0 is one place, not two to halve.
    expected = 1.0 if observed == 0 else expected
    assert sign_flip_test(sums) == pytest.approx(expected, abs=1e-12)
    assert sign_flip_test(-sums) == sign_flip_test(sums)


def test_sign_flips_of_single_rows_are_the_sign_test_with_half_of_what_was_seen():
    sums = np.repeat([1.0, -1.0, 0.0], [30, 14, 100])
    seen = 2 * scipy.stats.binom.pmf(30, 44, 0.5)
    assert sign_flip_test(sums) == pytest.approx(sign_test(30, 14) - seen / 2, abs=1e-12)


def test_too_few_prompts_that_differ_tell_nothing_and_none_is_no_difference():
    assert sign_flip_test(np.array([1.0] * 5 + [0.0] * 50)) is None
    assert sign_flip_test(np.array([1.0] * 6 + [0.0] * 50)) == pytest.approx(2**-6)
    assert sign_flip_test(np.zeros(50)) == 1.0


def test_no_p_is_below_what_flips_can_reach():
    assert sign_flip_test(np.full(20, 3.0)) == pytest.approx(2**-20)
    assert sign_flip_test(np.ones(900)) > 0


def test_in_two_ways_rows_depend_less_is_told():
    generator = np.random.default_rng(1)
    difference = generator.choice([-1.0, 0.0, 1.0], 200, p=[0.1, 0.6, 0.3])
    ids, systems = np.arange(200) // 2, np.stack([np.arange(200) % 20, np.full(200, NOBODY)], axis=1)
    both = clustered_t_test(difference, clusters_of(ids, systems, Clustering.both))
    assert 0 < both < 0.05
    shuffled = np.random.default_rng(0).permutation(np.repeat([1.0, -1.0], 100))
    assert clustered_t_test(shuffled, clusters_of(ids, systems, Clustering.both)) > 0.9
