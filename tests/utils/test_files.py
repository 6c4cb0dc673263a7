import errno
import hashlib
import os
from pathlib import Path

import pytest

from cmi_bench.errors import RunError
from cmi_bench.utils.files import (
    content_key,
    file_digest,
    files_digest,
    is_regular,
    open_regular,
    replacing,
    without_credentials,
    write_text_atomic,
    writing_to,
)


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


def test_what_a_killed_process_had_written_of_a_file_goes_with_the_next(tmp_path):
    path = tmp_path / "b [1].txt"
    left, other = tmp_path / ".b [1].txt.0a1b.tmp", tmp_path / ".c.txt.0a1b.tmp"
    left.write_text("half of")
    other.write_text("half of")
    write_text_atomic(path, "all of it")
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


def test_two_may_write_the_same_file_at_once(tmp_path):
    path = tmp_path / "b.txt"
    with replacing(path) as first:
        first.write(b"first")
        write_text_atomic(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "what"), [(errno.ENOSPC, "The disk that holds .* is full"), (errno.EACCES, "Cannot write to")]
)
def test_a_refusal_to_write_is_explained(tmp_path, number, what):
    with pytest.raises(RunError, match=what) as error, writing_to(tmp_path, instead="set cache.dir=..."):
        raise OSError(number, "no")
    assert "set cache.dir=...; then run again" in error.value.hint


def test_digests_are_sha256_of_the_content_alone(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "other").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc")
    assert file_digest(tmp_path / "file") == digest.hexdigest()
    whole = hashlib.sha256(digest.digest() * 2).hexdigest()
    assert files_digest([tmp_path / "file", tmp_path / "other"]) == whole


def test_content_keys_differ_with_any_value_and_not_with_the_order():
    assert content_key(a=1, b="x") == content_key(b="x", a=1)
    assert len({content_key(a=1), content_key(a=2), content_key(b=1), content_key(a=None), content_key(a="1")}) == 5


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:secret@host:5000/x", "http://***@host:5000/x"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
    ],
)
def test_credentials_are_not_shown(uri, shown):
    assert without_credentials(uri) == shown


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "Not a regular file but a named pipe"),
        (os.mkdir, "Not a regular file but a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "Not a regular file but a device"),
        (lambda path: None, "No such file or directory"),
    ],
    ids=["pipe", "folder", "device", "nothing"],
)
def test_only_regular_files_are_opened(tmp_path, make, says):
    path = tmp_path / "file"
    make(path)
    assert not is_regular(path)
    for use in (open_regular, file_digest):
        with pytest.raises(OSError, match=says) as error:
            use(path)
        assert error.value.filename == str(path)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "x" * 300])
def test_names_that_no_file_has(tmp_path, name):
    assert not is_regular(tmp_path / name)
    with pytest.raises(OSError, match=r"Not a file's name|File name too long"):
        open_regular(tmp_path / name)


def test_what_takes_a_files_place_after_the_first_look_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("x")
    opened = os.open

    def replaced(name, flags):
        path.unlink()
        os.mkfifo(path)
        return opened(name, flags)

    monkeypatch.setattr("os.open", replaced)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="Not a regular file but a named pipe"):
        open_regular(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
