import numpy as np
import pytest
from scipy.stats import percentileofscore
from scored_rows import VALID, clips

from cmi_bench.evaluation.calibration import worst_clips, worst_pairs
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.samples import DecidedPairs


def samples_of(labels, scores):
    (samples,) = evaluate(clips(labels, scores, **VALID)).samples
    return samples


def test_pairs_come_in_order_of_margin_and_only_where_wrong():
    lead = np.array([2.0, -0.5, 0.0, -3.0, -1.0])
    pairs = DecidedPairs(np.arange(11, 16), lead, np.zeros(5))
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
