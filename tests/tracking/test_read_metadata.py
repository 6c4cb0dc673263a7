import pytest

from cmi_bench.tracking.metadata import look_up, read_metadata


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text('{"a": {"b": 1}}')
    assert read_metadata(path) == {"a": {"b": 1}}


def test_nothing_there_is_nothing_said(tmp_path, caplog):
    assert read_metadata(tmp_path / "metadata.json") is None
    assert caplog.records == []


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_file_is_warned_of(tmp_path, caplog, text):
    path = tmp_path / "metadata.json"
    path.write_text(text, encoding="latin-1")
    assert read_metadata(path) is None
    assert str(path) in caplog.text


def test_looking_up_never_fails():
    metadata = {"a": {"b": 0}, "c": "text"}
    assert look_up(metadata, "a", "b") == 0
    assert look_up(metadata, "a") == {"b": 0}
    for path in (("x",), ("a", "x"), ("a", "b", "x"), ("c", "x")):
        assert look_up(metadata, *path) is None
    assert look_up(None, "a") is None
