"""Labels as the public files spell them."""

import math

import pytest

from cmi_bench.data.fields import LabelError, Preference, is_missing, parse_mos, parse_preference


@pytest.mark.parametrize(
    ("spelling", "meaning"),
    [
        ("A", Preference.A),
        ("a", Preference.A),
        ("model_a", Preference.A),
        (" Model_A ", Preference.A),
        ("B", Preference.B),
        ("model_b", Preference.B),
        ("both", Preference.BOTH),
        ("neither", Preference.BOTH),
        ("TIE", Preference.BOTH),
        ("BOTH_BAD", Preference.BOTH),
    ],
)
def test_every_public_spelling_of_a_preference_is_read(spelling, meaning):
    assert parse_preference(spelling) is meaning


@pytest.mark.parametrize("nothing", [None, "", "  ", math.nan])
def test_a_field_that_says_nothing_is_no_label(nothing):
    assert is_missing(nothing)
    assert parse_preference(nothing) is None
    assert parse_mos(nothing) is None


@pytest.mark.parametrize("value", ["banana", "model_c", 1, True])
def test_an_unknown_preference_is_refused_with_what_is_known(value):
    with pytest.raises(LabelError, match=r"is not a preference .*model_a"):
        parse_preference(value)


@pytest.mark.parametrize(("value", "score"), [(1, 1.0), (5.0, 5.0), ("3.25", 3.25)])
def test_mean_opinion_scores_are_numbers_or_their_text(value, score):
    assert parse_mos(value) == score


@pytest.mark.parametrize(
    ("value", "complaint"), [("good", "not a number"), (0.9, "1 to 5"), (5.1, "1 to 5"), ([3], "not a")]
)
def test_what_is_no_mean_opinion_score_is_refused(value, complaint):
    with pytest.raises(LabelError, match=complaint):
        parse_mos(value)
