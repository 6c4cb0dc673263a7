import math

import numpy as np
import pytest
from degraded_clips import degraded
from scipy.stats import spearmanr, wilcoxon

from cmi_bench.evaluation.robustness import measure_robustness
from cmi_bench.types import Aspect


def along_steps(scores, kind="noise"):
    """`scores`: [pieces][severities], the first one clean."""
    return [
        degraded("clean" if severity == 0 else kind, f"step {severity}", severity, piece, score)
        for piece, along in enumerate(scores)
        for severity, score in enumerate(along)
    ]


def measure(scores, kind="noise"):
    return measure_robustness(along_steps(scores, kind), Aspect.MUSICALITY)


def test_changes_are_from_the_same_piece_clean():
    result = measure([[1.0, 0.5, 0.0], [3.0, 3.5, 1.0], [2.0, 1.0, 0.5]])
    assert result.clean == (1.0, 3.0, 2.0)
    first, second = result.changes
    changes = np.array([-0.5, 0.5, -1.0])
    assert (first.kind, first.step, first.severity, first.n) == ("noise", "step 1", 1, 3)
    assert first.mean == pytest.approx(changes.mean())
    assert first.spread == pytest.approx(np.std(changes, ddof=1))
    assert first.share_lower == pytest.approx(2 / 3)
    assert second.share_lower == 1.0


def test_the_trend_is_the_mean_over_pieces_of_spearmans_correlation():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 6)).round(1)
    (trend,) = measure(scores.tolist()).trends
    expected = np.mean([spearmanr(range(6), along).statistic for along in scores])
    assert trend.correlation.value == pytest.approx(expected)
    assert trend.n == 5


def test_scores_that_always_fall_have_minus_one():
    (trend,) = measure([[3, 2, 1], [9, 8, 0]]).trends
    assert trend.correlation.value == pytest.approx(-1.0)


def test_a_constant_model_changes_by_zero_and_has_no_trend():
    result = measure([[0.5, 0.5, 0.5]] * 3)
    assert [(change.mean, change.spread, change.share_lower) for change in result.changes] == [(0.0, 0.0, 0.0)] * 2
    (trend,) = result.trends
    assert trend.correlation == (None, "constant prediction")
    assert trend.n == 0


def test_kinds_are_apart():
    scores = [*along_steps([[1.0, 0.0]] * 2, "noise"), *along_steps([[1.0, 2.0]] * 2, "cut")]
    result = measure_robustness(scores, Aspect.ALIGNMENT)
    assert [(trend.kind, round(trend.correlation.value, 9)) for trend in result.trends] == [("noise", -1), ("cut", 1)]


def test_failures_leave_their_piece_out_of_a_step_and_the_step_in():
    nan = math.nan
    result = measure([[1.0, nan, nan], [1.0, 0.0, nan], [nan, 0.0, nan]])
    first, second = result.changes
    assert (first.n, first.mean, first.spread, first.share_lower) == (1, -1.0, None, 1.0)
    assert (second.n, second.mean, second.spread, second.share_lower) == (0, None, None, None)
    assert result.trends[0].n == 1


def test_without_a_clean_score_there_is_nothing_to_compare_with():
    result = measure([[math.nan, 1.0]])
    assert result.changes[0].n == 0
    assert result.trends[0].correlation.reason == "no clean clip has a score"


def test_the_test_of_a_fall_is_wilcoxons_where_changes_are_ranks_and_is_corrected_over_the_kinds():
    changes = np.array([-1, -2, -3, 4, -5, -6, -7, -8.0])
    scores = [
        *along_steps([[0.0, change] for change in changes], "one"),
        *along_steps([[0.0, -1.0, -3.0] for _ in changes], "two"),
        *along_steps([[0.0, 1e-7] for _ in changes], "three"),
    ]
    one, two, three = measure_robustness(scores, Aspect.MUSICALITY).trends
    # The sum of signed ranks is Wilcoxon's statistic.
    assert one.p == pytest.approx(wilcoxon(changes, alternative="less", method="exact").pvalue)
    assert (two.p, three.p) == (1 / 256, 1.0)
    assert [one.p_holm, two.p_holm, three.p_holm] == [pytest.approx(2 * one.p), 3 / 256, 1.0]
    assert (one.falls, two.falls, three.falls) == (2 * one.p <= 0.05, True, False)


def test_few_pieces_allow_no_star():
    assert [measure([[1.0, 0.0]] * n).trends[0].p for n in (1, 2, 4)] == [1 / 2, 1 / 4, 1 / 16]
    assert measure([[math.nan, 0.0]]).trends[0].p is None
    assert not measure([[1.0, 0.0]] * 4).trends[0].falls
