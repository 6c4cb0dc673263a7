"""statsmodels' logistic regression as the oracle."""

import numpy as np
import pytest
import statsmodels.api as sm

from cmi_bench.evaluation.calibration import fit_bradley_terry
from cmi_bench.evaluation.samples import DecidedPairs


def pairs(lead):
    lead = np.asarray(lead, dtype=float)
    return DecidedPairs(np.arange(1, lead.size + 1), lead, np.zeros_like(lead))


def drawn(beta, n, *, seed, scale=1.0):
    """Margins of A, and whether A was preferred, from the model itself."""
    rng = np.random.default_rng(seed)
    margin = scale * rng.standard_normal(n)
    return margin, rng.random(n) < 1 / (1 + np.exp(-beta * margin))


@pytest.mark.parametrize(("beta", "n", "scale"), [(2.0, 40, 1.0), (0.0, 60, 5.0), (-30.0, 200, 0.02), (1e-3, 500, 900)])
def test_the_scale_is_that_of_a_logistic_regression_without_intercept(beta, n, scale):
    margin, a_wins = drawn(beta, n, seed=7, scale=scale)
    fit = fit_bradley_terry(pairs(np.where(a_wins, margin, -margin)))
    # In units of the scale, for statsmodels' own optimiser to converge.
    oracle = sm.Logit(a_wins.astype(float), (margin / scale)[:, None]).fit(disp=0, method="newton", tol=1e-14)
    assert fit.beta == pytest.approx(oracle.params[0] / scale, rel=1e-8)
    low, high = oracle.conf_int()[0] / scale
    assert (fit.ci_low, fit.ci_high) == pytest.approx((low, high), rel=1e-8)


def test_the_true_scale_is_found_again():
    margin, a_wins = drawn(3.0, 20_000, seed=1)
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
    ],
)
def test_where_no_finite_scale_is_the_most_likely_there_is_none_and_a_reason(lead, reason):
    fit = fit_bradley_terry(pairs(lead))
    assert (fit.beta, fit.ci_low, fit.ci_high) == (None, None, None)
    assert fit.reason.startswith(reason)


def test_two_opposite_pairs_of_one_margin_are_a_coin():
    assert fit_bradley_terry(pairs([1.0, -1.0])).beta == pytest.approx(0.0, abs=1e-12)


def test_margins_of_very_different_size_do_not_overflow():
    fit = fit_bradley_terry(pairs([1e6, 1e6, -1e-3]))
    assert fit.beta is not None
    assert np.isfinite([fit.beta, fit.ci_low, fit.ci_high]).all()
