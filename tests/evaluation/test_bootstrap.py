import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from cmi_bench.evaluation.bootstrap import clopper_pearson, sign_test


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
