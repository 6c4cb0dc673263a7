import math

import pytest

from cmi_bench.data.datasets import CONDITIONS, condition_of, has_lyrics, has_reference


@pytest.mark.parametrize(
    ("raw", "condition"),
    [
        ({}, "text"),
        ({"lyrics": "", "ref-audio-path": " "}, "text"),
        ({"lyrics": None, "ref-audio-path": math.nan}, "text"),
        ({"lyrics": "la"}, "text+lyrics"),
        ({"ref-audio-path": "r.mp3"}, "text+ref"),
        ({"lyrics": "la", "ref-audio-path": "r.mp3"}, "text+lyrics+ref"),
        ({"lyrics": "la", "modality": " text "}, "text"),
        ({"lyrics": "la", "modality": ""}, "text+lyrics"),
    ],
)
def test_the_condition_is_what_is_not_empty_and_modality_wins(raw, condition):
    assert condition_of(raw) == condition


def test_parts_of_a_condition():
    assert [has_lyrics(name) for name in CONDITIONS] == [False, True, False, True]
    assert [has_reference(name) for name in CONDITIONS] == [False, False, True, True]
    assert has_lyrics("video") is None
    assert has_reference("video+ref") is None
