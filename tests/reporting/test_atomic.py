import pytest

from cmi_bench.utils.files import write_text_atomic


def test_a_file_is_written_as_it_is_with_its_folders(tmp_path):
    path = write_text_atomic(tmp_path / "a" / "b.txt", "ä\r\nb\n")
    assert path.read_bytes() == "ä\r\nb\n".encode()


def test_an_existing_file_is_replaced_and_nothing_left_beside(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")
    write_text_atomic(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomic(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_it_as_any_file(tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("x")
    assert write_text_atomic(tmp_path / "b.txt", "x").stat().st_mode == plain.stat().st_mode
