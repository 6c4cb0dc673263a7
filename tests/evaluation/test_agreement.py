import itertools

import numpy as np
import pytest

from cmi_bench.config import ProtocolName
from cmi_bench.evaluation.metrics import accuracy, credit
from cmi_bench.evaluation.protocols import preferred_side

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
    ("scores", "strict", "paper"),
    [
        ((2.0, 1.0), "model_a", "model_a"),
        ((1.0, 2.0), "model_b", "model_b"),
        ((1.0, 1.0), "both", "model_b"),
        ((0.0, -0.0), "both", "model_b"),
        ((np.nan, 1.0), None, None),
        ((1.0, np.inf), None, None),
    ],
)
def test_the_higher_score_is_preferred_and_the_protocol_decides_ties(scores, strict, paper):
    assert preferred_side(*scores, protocol=ProtocolName.strict) == strict
    assert preferred_side(*scores, protocol=ProtocolName.paper) == paper
