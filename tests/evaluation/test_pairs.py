import numpy as np
import pytest
from scored_rows import VALID_PAIR, arena

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.samples import decided_pairs


def of(rows, **settings):
    (samples,) = evaluate(rows, MetricSettings(**settings)).samples
    return decided_pairs(samples, rows)


def test_scores_stand_by_who_was_preferred():
    rows = [
        {"source": "else", "split": "test"},  # row numbers count what is left out
        arena("A", 1.0, 0.25, **VALID_PAIR),
        arena("B", 1.0, 0.25, **VALID_PAIR),
        arena("TIE", 1.0, 0.0, **VALID_PAIR),
        arena("", 1.0, 0.0, **VALID_PAIR),
        arena("A", None, None, inference_valid_a=False, inference_valid_b=True),
        arena("B", 2.0, 2.0, **VALID_PAIR),
    ]
    pairs = of(rows)
    assert pairs.rows.tolist() == [2, 3, 7]
    assert pairs.lead.tolist() == [0.75, -0.75, 0.0]
    assert pairs.credit.tolist() == [1.0, 0.0, 0.5]
    assert pairs.preferred.tolist() == [1.0, 0.25, 2.0]


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_infinite_scores_and_rows_that_only_state_a_preference_have_no_margin(protocol):
    stated = arena("A", 1.0, 0.0)
    del stated["predicted_musicality"], stated["predicted_musicality_b"]
    pairs = of([arena("A", np.inf, 0.0), stated, arena("A", "0.5", "0.25")], protocol=protocol)
    assert pairs.rows.tolist() == [3]
    assert pairs.lead.tolist() == [0.25]
