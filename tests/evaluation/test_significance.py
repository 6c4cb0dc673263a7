import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from cmi_bench.evaluation.comparison import bootstrap_p, holm


@pytest.mark.parametrize("p_values", [[], [0.3], [0.01, 0.04, 0.03], [0.5, 0.5, 1.0], [0.001] * 4 + [0.9, 0.02]])
def test_holm_is_that_of_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(list(expected), abs=1e-12)


def test_holm_of_many():
    p_values = np.random.default_rng(0).random(60) ** 3
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


def test_bootstrap_p_counts_the_rarer_side_of_nothing():
    values = np.array([1.0] * 95 + [-1.0] * 4 + [np.nan] * 7)
    assert bootstrap_p(values) == pytest.approx(2 * 5 / 100)
    assert bootstrap_p(-values) == bootstrap_p(values)


def test_bootstrap_p_is_never_nothing_and_never_more_than_one():
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1.0
