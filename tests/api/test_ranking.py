"""Places, and what they go by."""

import math

import pytest

from cmi_bench.api.ranking import By, Criterion, criterion, places
from cmi_bench.api.songs import SongScore
from cmi_bench.errors import UserError


def test_equal_songs_share_a_rank_in_the_order_given():
    found = places([0.5, 0.9, 0.5, 0.1, 0.5])
    assert [(place.rank, place.index) for place in found] == [(1, 1), (2, 0), (2, 2), (2, 4), (5, 3)]


def test_of_equal_songs_at_the_cut_the_first_given_is_taken():
    assert [place.index for place in places([0.5, 0.9, 0.5], top_k=2)] == [1, 0]
    assert len(places([0.5], top_k=9)) == 1


def test_what_was_not_judged_has_no_place():
    assert [place.index for place in places([math.nan, -1.0, math.nan, 2.0])] == [3, 1]
    assert places([]) == []


def test_top_k_must_be_positive():
    with pytest.raises(UserError, match="top_k=0"):
        places([1.0], top_k=0)


def test_values():
    score = SongScore(alignment=0.2, musicality=0.6)
    assert Criterion(By.ALIGNMENT).value(score) == 0.2
    assert Criterion(By.MEAN, 0.75).value(score) == pytest.approx(0.5)
    assert Criterion(By.MEAN, 1.0).value(score) == 0.6


def test_the_spread_is_that_of_what_is_ranked_by():
    """Members that differ in both scores by as much in opposite directions agree on the mean."""
    score = SongScore(0.5, 0.5, members=((0.0, 1.0), (1.0, 0.0)))
    assert Criterion(By.MEAN).spread(score) == 0.0
    assert Criterion(By.MUSICALITY).spread(score) == score.spread("musicality") == pytest.approx(math.sqrt(0.5))
    assert math.isnan(Criterion(By.MEAN).spread(SongScore(0.2, 0.6)))


@pytest.mark.parametrize(("by", "weight", "says"), [("musicalty", 0.5, "musicalty"), ("mean", 1.5, "weight=1.5")])
def test_mistakes(by, weight, says):
    with pytest.raises(UserError, match=says):
        criterion(by, weight)


@pytest.mark.parametrize("by", [By.ALIGNMENT, By.MEAN])
def test_a_model_that_does_not_judge_it(by):
    failed, judged = SongScore(math.nan, math.nan, "broken"), SongScore(math.nan, 0.5)
    with pytest.raises(UserError, match="M does not judge alignment") as raised:
        Criterion(by).check([failed, judged], "M")
    assert raised.value.hint == "Rank by musicality."
    Criterion(By.MUSICALITY).check([failed, judged], "M")
    Criterion(by).check([failed], "M")  # which says nothing of what the model judges
