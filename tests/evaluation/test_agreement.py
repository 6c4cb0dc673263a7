import itertools

import numpy as np
import pytest

from cmi_bench.evaluation.metrics import accuracy, credit, preferred_side

A, BOTH, B = 1.0, 0.0, -1.0


@pytest.mark.parametrize(("label", "prediction"), itertools.product([A, BOTH, B], repeat=2))
def test_credit_is_the_tables_rule(label, prediction):
    expected = 1.0 if label == prediction else 0.5 if BOTH in (label, prediction) else 0.0
    assert credit(np.array([label]), np.array([prediction])) == [expected]


@pytest.mark.parametrize("label", [A, BOTH, B])
def test_a_failure_gets_no_credit_even_against_both(label):
    assert credit(np.array([label]), np.array([np.nan])) == [0.0]


def test_accuracy_is_the_mean_credit():
    assert accuracy(np.array([A, B, BOTH, A]), np.array([A, A, A, np.nan])).value == pytest.approx(1.5 / 4)
    assert accuracy(np.array([]), np.array([])) == (None, "no row")


@pytest.mark.parametrize(
    ("scores", "side"), [((2.0, 1.0), A), ((1.0, 2.0), B), ((1.0, 1.0), BOTH), ((0.0, -0.0), BOTH)]
)
def test_the_higher_score_is_preferred_and_a_tie_is_both(scores, side):
    assert preferred_side(*scores) == side
