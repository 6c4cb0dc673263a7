"""Scores kept as columns come back as they were, and are judged as `mark_partial_nan` judges them."""

import math

import numpy as np
import pytest

from cmi_bench.scoring.model_call import mark_partial_nan
from cmi_bench.scoring.score_columns import ScoreColumns
from cmi_bench.types import Aspect, Score

PLAIN = [Score(0.5, 2.0), Score.failed("broken"), Score(-1.0, 3.0)]
ENSEMBLE = [Score(0.0, 1.0), Score(1.5, 2.5, members=((1.0, 2.0), (2.0, 3.0))), Score.failed("no"), PLAIN[0]]


@pytest.mark.parametrize("scores", [[], PLAIN, ENSEMBLE, ENSEMBLE[1:]])
def test_they_come_back(scores):
    columns = ScoreColumns(scores[:2])
    columns.extend(scores[2:])
    assert len(columns) == len(scores)
    assert [repr(one) for one in columns] == [repr(one) for one in scores]
    assert columns.is_ensemble == any(score.members for score in scores)
    assert columns.failed == sum(bool(score.error) for score in scores)
    for aspect in Aspect:
        np.testing.assert_array_equal(columns.column(aspect), [score.value(aspect) for score in scores])


@pytest.mark.parametrize(
    "scores",
    [
        [Score(math.nan, 1.0), Score(math.nan, 2.0), Score.failed("broken")],
        [Score(math.nan, 1.0), Score(0.5, 2.0), Score.failed("broken"), Score(0.5, math.nan)],
        [Score(math.nan, math.nan), Score.failed("broken")],
    ],
)
def test_a_column_that_is_judged_elsewhere(scores):
    columns = ScoreColumns(scores)
    columns.fail_partial_nan()
    assert [repr(one) for one in columns] == [repr(one) for one in mark_partial_nan(dict(enumerate(scores))).values()]


def test_no_place_beyond_the_end():
    with pytest.raises(IndexError):
        ScoreColumns(PLAIN)[3]
