"""Rows are read from JSON lines; what is wrong is named with file, line and field."""

import json

import pytest

from cmi_bench.data.datasets import (
    CMI_PREF,
    MUSIC_EVAL,
)
from cmi_bench.data.rows import load_rows, read_jsonl
from cmi_bench.errors import UserError


def test_lines_are_numbered_as_in_an_editor_and_blank_ones_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n   \n{"b": "ä"}', encoding="utf-8")
    assert [(line.number, line.value) for line in read_jsonl(path)] == [(1, {"a": 1}), (4, {"b": "ä"})]


def test_a_malformed_line_is_named_with_file_line_and_column(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": }\n')
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2, column 7: not JSON") as caught:
        list(read_jsonl(path))
    assert "one JSON object" in caught.value.hint


def test_a_line_that_is_no_object_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("[1, 2]\n")
    with pytest.raises(UserError, match="line 1: a JSON list, not an object"):
        list(read_jsonl(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.jsonl does not exist"):
        list(read_jsonl(tmp_path / "nowhere.jsonl"))


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "audio.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as UTF-8"):
        list(read_jsonl(path))


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
