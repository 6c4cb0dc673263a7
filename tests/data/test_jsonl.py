import pytest

from cmi_bench.data.rows import read_jsonl
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
