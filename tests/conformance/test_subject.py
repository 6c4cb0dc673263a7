"""Scores are compared in proportion to their size."""

import numpy as np
import pytest

from cmi_bench.conformance.subject import (
    FailedCheckError,
    ScoreComparison,
    reach_of,
)


def test_scores_are_compared_by_their_size_and_told_by_their_range():
    wanted = np.array([[1.0, 4000.0], [3.0, np.nan]])
    comparison = ScoreComparison(1e-4, reach_of(np.array([[1.0, 4000.0], [3.0, 4100.0]])))
    assert comparison.check(wanted + np.array([0.0, 0.3]), wanted, ["one", "two"]) == "Largest difference 0.3."
    with pytest.raises(FailedCheckError, match=r"alignment of two is 3.02, was 3: a difference of 0.02, 1.0% of"):
        comparison.check(wanted + np.array([[0.0], [0.02]]), wanted, ["one", "two"])
    with pytest.raises(FailedCheckError, match="musicality of two is 1, was nan"):
        comparison.check(np.nan_to_num(wanted, nan=1.0), wanted, ["one", "two"])
