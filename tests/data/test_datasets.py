"""Which dataset a row belongs to, and what its instruction consists of."""

import math

import pytest

from cmi_bench.data.datasets import (
    CMI_PREF,
    CONDITIONS,
    MUSIC_ARENA,
    MUSIC_EVAL,
    PAM,
    all_datasets,
    condition_of,
    dataset_by_slug,
    dataset_of_source,
    has_lyrics,
    has_reference,
)
from cmi_bench.errors import UserError


@pytest.mark.parametrize(
    ("source", "dataset"),
    [
        ("PAM (music)", PAM),
        ("MusicEval", MUSIC_EVAL),
        ("SongEval", MUSIC_EVAL),
        ("Music Arena ['01-2025JULAUG']", MUSIC_ARENA),
        ("cmi-arena-annotation", CMI_PREF),
        ("MusicEval2", None),
        ("", None),
    ],
)
def test_the_source_says_the_dataset(source, dataset):
    assert dataset_of_source(source) is dataset


def test_datasets_are_found_by_slug():
    assert [dataset_by_slug(dataset.slug) for dataset in all_datasets()] == list(all_datasets())
    assert [dataset.is_paired for dataset in all_datasets()] == [False, False, True, True]
    with pytest.raises(UserError, match="no dataset 'pma'") as error:
        dataset_by_slug("pma")
    assert "Did you mean pam?" in error.value.hint


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
