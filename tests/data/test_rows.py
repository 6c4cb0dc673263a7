"""Rows are read from JSON lines; what is wrong is named with file, line and field."""

import json
import os

import pytest

from cmi_bench.data.datasets import (
    CMI_PREF,
    MUSIC_EVAL,
)
from cmi_bench.data.rows import (
    describe_missing,
    leads_outside,
    load_rows,
    missing_audio,
    read_jsonl,
    read_results,
    results_file,
    rows_inside,
    with_original_names,
)
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


def test_where_a_folder_of_runs_is_named_for_a_run_the_last_of_them_is_said(tmp_path):
    for run in ("2026-01-02", "2026-01-03", "stopped"):
        (tmp_path / run).mkdir()
    for run in ("2026-01-03", "2026-01-02"):
        (tmp_path / run / "results.jsonl").write_text("{}\n")
    with pytest.raises(UserError) as error:
        read_results(results_file(tmp_path))
    assert f"{tmp_path} holds runs, the last of them {tmp_path}/2026-01-03." in error.value.hint


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


SEPARATORS = "one\u2028two\u2029three\u0085four\x0bfive\x0csix\x1cseven"
"""What `str.splitlines` takes for ends of lines, and singers' lyrics hold."""


def test_only_a_line_feed_ends_a_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"lyrics": SEPARATORS}, ensure_ascii=False), json.dumps({"lyrics": "a"})]
    for end in ("\n", "\r\n"):
        path.write_bytes(end.join(lines).encode())
        assert [(line.number, line.value["lyrics"]) for line in read_jsonl(path)] == [(1, SEPARATORS), (2, "a")]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n', encoding="utf-8-sig")
    assert [line.value for line in read_jsonl(path)] == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\n', encoding="utf-16")
    with pytest.raises(UserError, match="line 1 cannot be read as UTF-8"):
        list(read_jsonl(path))


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"a": "ä"}\n'.encode() + '{"a": "ä"}\n'.encode("latin-1"))
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2 cannot be read as UTF-8") as error:
        list(read_jsonl(path))
    assert "UTF-8" in error.value.hint


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[" * 50_000 + "]" * 50_000, "lists or objects nested more than 100 deep"),
        ("[" * 150 + "]" * 150, "lists or objects nested more than 100 deep"),
        ('{"b": ' * 150 + "1" + "}" * 150, "lists or objects nested more than 100 deep"),
        ("9" * 10_000, "a number of too many digits"),
        (r'"half \ud83c"', r"the field 'a' holds half a character \(\\ud83c"),
        (r'{"b": ["\udfff"]}', "the field 'a' holds half a character"),
    ],
    ids=["bomb", "lists", "objects", "digits", "surrogate", "inside"],
)
def test_what_python_alone_could_write_is_refused(tmp_path, value, says):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": ' + value + "}\n")
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2: " + says) as error:
        list(read_jsonl(path))
    assert error.value.hint
    assert len(str(error.value)) < 400


def test_what_only_looks_odd_is_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(r'{"note": "\ud83c\udfb5", "verse": "' + "[verse] {x} " * 200 + r'", "big": 1' + "0" * 400 + "}\n")
    (line,) = read_jsonl(path)
    assert line.value["note"] == "\U0001f3b5"
    assert line.value["big"] == 10**400


def test_a_rows_file_that_is_no_file_is_named_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, kind in (("pipe.jsonl", "a named pipe"), (".", "a folder"), ("/dev/zero", "a device")):
        with pytest.raises(UserError, match=f"Not a regular file but {kind}"):
            list(read_jsonl(tmp_path / name))


@pytest.mark.parametrize("field", ["audio-path", "audio2", "ref-audio-path"])
def test_a_path_with_a_nul_character_is_named(write, field):
    with pytest.raises(UserError, match=rf"line 1: the field '{field}' is 'a\\x00b.wav', which no file"):
        load_rows(write(PAIR | {field: "a\0b.wav"}))


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("a.wav", False),
        ("b/../a.wav", False),
        ("./b/a.wav", False),
        ("..a/b..wav", False),
        ("b/...wav", False),
        ("link/x.wav", False),
        ("{root}/a.wav", False),
        ("{root}/b/../a.wav", False),
        ("../a.wav", True),
        ("b/../../a.wav", True),
        ("link/../a.wav", True),
        ("/etc/passwd", True),
        ("{root}/../a.wav", True),
        ("{root}2/a.wav", True),
        ("..", True),
        ("../a\0b.wav", True),
    ],
)
def test_paths_lead_out_of_the_data_root_or_not(tmp_path, path, leads):
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (tmp_path / "disk/below").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "disk/below")
    assert leads_outside(root, path.format(root=root)) is leads
    # The same through a link to the root itself.
    (tmp_path / "here").symlink_to(root)
    assert leads_outside(tmp_path / "here", path.format(root=root)) is leads


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
        (CLIP | {"musicality": True}, "'musicality': True is not a number"),
        (CLIP | {"musicality": 10**400}, r"'musicality': 10+\.\.\. \(401 characters\) is not a number"),
        (CLIP | {"musicality": "1e400"}, "'musicality': '1e400' is not a mean opinion score"),
        (CLIP | {"musicality": [3]}, r"'musicality': \[3\] is not a number"),
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


def test_missing_files_are_counted_and_the_first_few_named(write, tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").mkdir()
    rows = load_rows(write(*[CLIP | {"audio-path": f"{name}.wav"} for name in "abacdefgh"])).rows
    missing = missing_audio(rows, tmp_path)
    assert missing == [f"{name}.wav" for name in "bcdefgh"]
    assert describe_missing(missing, tmp_path) == (
        f"7 audio files are missing under {tmp_path}: b.wav (Not a regular file but a folder), c.wav, d.wav, e.wav,"
        " f.wav and 2 more."
    )
    assert describe_missing(["c.wav"], tmp_path) == f"1 audio file is missing under {tmp_path}: c.wav."
    assert len(describe_missing(["x" * 300], tmp_path)) < 150 + len(str(tmp_path))


@pytest.mark.parametrize(("count", "others"), [(1, ""), (2, " So does 1 more row."), (4, " So do 3 more rows.")])
def test_rows_that_lead_out_are_counted(write, tmp_path, count, others):
    file = write(CLIP, *[CLIP | {"audio-path": "../x.wav"}] * count)
    with pytest.raises(UserError) as error:
        list(rows_inside(load_rows(file).rows, tmp_path, file))
    assert error.value.what == f"{file}, line 2 names audio outside of the data root {tmp_path}: ../x.wav.{others}"
    rows = load_rows(write(CLIP)).rows
    assert tuple(rows_inside(rows, tmp_path, file)) == rows


@pytest.fixture
def music_eval(tmp_path):
    lines = [
        {
            "source": "MusicEval",
            "split": "test",
            "audio-path": f"MusicEval_data/test_audio/{row}.wav",
            "musicality": 3.0,
        }
        for row in range(3)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "MusicEval_data").mkdir()
    return load_rows(path).rows


def test_names_that_prepare_wrote_down_tell_of_systems_and_prompts(music_eval, tmp_path):
    names = {"0.wav": "S007_P012.wav", "1.wav": "s007_p013.mp3"}
    (tmp_path / "MusicEval_data/test_audio_names.json").write_text(json.dumps(names))
    rows = tuple(with_original_names(music_eval, tmp_path))
    assert [MUSIC_EVAL.systems_of(row.raw)[0] for row in rows] == ["007", "007", None]
    assert [MUSIC_EVAL.prompt_of(row.raw) for row in rows] == ["012", "013", None]
    assert [row.prompt for row in rows] == ["", "", ""]  # models are told no more than before


def test_rows_without_such_names_stay_as_they_are(music_eval, tmp_path):
    assert tuple(with_original_names(music_eval, tmp_path)) == music_eval


@pytest.mark.parametrize("content", ["[1]", "{"])
def test_names_that_cannot_be_read_are_a_mistake(music_eval, tmp_path, content):
    (tmp_path / "MusicEval_data/test_audio_names.json").write_text(content)
    with pytest.raises(UserError, match=r"test_audio_names\.json"):
        list(with_original_names(music_eval, tmp_path))
