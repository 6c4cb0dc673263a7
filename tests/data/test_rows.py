import json

import pytest

from cmi_bench.data.datasets import (
    CMI_PREF,
    MUSIC_ARENA,
    MUSIC_EVAL,
    PAM,
    all_datasets,
    dataset_by_slug,
    dataset_of_source,
)
from cmi_bench.data.rows import load_rows
from cmi_bench.errors import UserError

CLIP = {"source": "PAM (music)", "split": "test", "audio-path": "a.wav", "prompt": "p", "musicality": 3.0}
EVAL = {"source": "MusicEval", "split": "test", "audio-path": "e.wav", "musicality": 2.5}
PAIR = {
    "source": "cmi-arena-annotation",
    "split": "test",
    "audio-path": "a.mp3",
    "audio2": "b.mp3",
    "preference-musicality": "model_a",
    "preference-alignment": "model_b",
}


@pytest.fixture
def write(tmp_path):
    def to_file(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return to_file


def test_a_pair_is_read_with_all_it_says(write):
    row = load_rows(write(PAIR | {"prompt": "p", "lyrics": "la", "ref-audio-path": "r.mp3", "user id": 7})).rows[0]
    assert (row.index, row.dataset) == (1, CMI_PREF)
    assert row.audio_files == ("a.mp3", "b.mp3", "r.mp3")
    assert (row.prompt, row.lyrics, row.condition) == ("p", "la", "text+lyrics+ref")
    assert row.raw["user id"] == 7


@pytest.mark.parametrize("nothing", ["", "  ", None])
def test_empty_and_absent_fields_are_the_same(write, nothing):
    given, absent = load_rows(write(PAIR | {"lyrics": nothing, "ref-audio-path": nothing}, PAIR)).rows
    assert (given.lyrics, given.ref_audio, given.condition) == ("", None, "text")
    assert (absent.lyrics, absent.ref_audio, absent.condition) == ("", None, "text")


def test_a_single_clip_has_no_second_side(write):
    row = load_rows(write(CLIP | {"audio2": "stray.wav"})).rows[0]
    assert row.audio_b is None
    assert row.audio_files == ("a.wav",)


def test_other_splits_are_passed_over_unread(write):
    path = write(CLIP | {"split": "train", "musicality": "unreadable"}, CLIP)
    assert [row.index for row in load_rows(path).rows] == [2]


def test_a_split_without_rows_is_an_error(write):
    with pytest.raises(UserError, match="no row of split 'dev' for PAM, MusicEval"):
        load_rows(write(CLIP), split="dev")


def test_unknown_sources_of_the_split_are_counted(write):
    strange = {"source": "else", "split": "test"}
    row_set = load_rows(write(CLIP, strange, strange, strange | {"split": "train"}))
    assert len(row_set.rows) == 1
    assert row_set.unknown_sources == {"else": 2}


def test_the_limit_counts_each_dataset_for_itself(write):
    rows = load_rows(write(CLIP, CLIP, EVAL, CLIP, EVAL, EVAL), limit=2).rows
    assert [row.index for row in rows] == [1, 2, 3, 5]


def test_only_the_datasets_asked_for(write):
    assert [row.dataset for row in load_rows(write(CLIP, EVAL), datasets=[MUSIC_EVAL]).rows] == [MUSIC_EVAL]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({key: value for key, value in CLIP.items() if key != "split"}, "split"),
        (CLIP | {"source": ""}, "source"),
        (CLIP | {"audio-path": None}, "audio-path"),
        (PAIR | {"audio2": " "}, "audio2"),
    ],
)
def test_a_missing_field_is_named_with_file_and_line(write, row, field):
    with pytest.raises(UserError, match=rf"rows\.jsonl, line 2: the field '{field}' is missing or empty"):
        load_rows(write(CLIP, row))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (CLIP | {"musicality": "good"}, "'musicality': 'good' is not a number"),
        (CLIP | {"text-music alignment": 7}, "'text-music alignment': 7 is not a mean opinion score"),
        (PAIR | {"preference-alignment": "model_c"}, "'preference-alignment': 'model_c' is not a preference"),
    ],
)
def test_a_label_that_is_not_understood_is_named_with_file_line_and_field(write, row, complaint):
    with pytest.raises(UserError, match=rf"rows\.jsonl, line 2: the field {complaint}"):
        load_rows(write(CLIP, row))


def test_a_field_that_is_not_text_is_named(write):
    with pytest.raises(UserError, match="line 1: the field 'prompt' is 3, not text"):
        load_rows(write(CLIP | {"prompt": 3}))


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
