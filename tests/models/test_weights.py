"""Digests of weights that are kept from run to run."""

import os

import pytest

from cmi_bench.models import weights
from cmi_bench.models.weights import known_digest

DIGEST, OTHER = "a" * 64, "b" * 64


def never():
    raise AssertionError("the digest is known")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SETTLED", -1.0)  # nobody writes to it within a tick here
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    return path


def test_it_is_made_once(file, tmp_path):
    assert known_digest(tmp_path / "kept", [file], lambda: DIGEST) == DIGEST
    assert known_digest(tmp_path / "kept", [file], never) == DIGEST


def test_another_part_of_the_file_has_another(file, tmp_path):
    known_digest(tmp_path / "kept", [file], lambda: DIGEST, part="audio")
    assert known_digest(tmp_path / "kept", [file], lambda: OTHER, part="text") == OTHER


def test_without_a_folder_nothing_is_kept(file, tmp_path):
    assert known_digest(None, [file], lambda: DIGEST) == DIGEST
    assert known_digest(None, [file], lambda: OTHER) == OTHER
    assert list(tmp_path.iterdir()) == [file]


def write_in_place(file):
    file.write_bytes(b"new")


def exchange(file):
    file.with_name("new").write_bytes(b"new")
    file.with_name("new").replace(file)


def write_and_turn_the_clock_back(file):
    before = file.stat()
    file.write_bytes(b"new")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [write_in_place, exchange, write_and_turn_the_clock_back])
def test_a_changed_file_of_the_same_size_and_name(file, tmp_path, change):
    known_digest(tmp_path / "kept", [file], lambda: DIGEST)
    change(file)
    assert known_digest(tmp_path / "kept", [file], lambda: OTHER) == OTHER


def test_a_file_that_changes_while_it_is_read_is_not_kept(file, tmp_path):
    def make():
        file.write_bytes(b"newer")
        return DIGEST

    known_digest(tmp_path / "kept", [file], make)
    assert known_digest(tmp_path / "kept", [file], lambda: OTHER) == OTHER


def test_a_file_written_to_a_moment_ago_is_not_kept(file, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SETTLED", 60.0)
    known_digest(tmp_path / "kept", [file], lambda: DIGEST)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("damage", [b"", b"a" * 40, b"a" * 63 + b"\n", b"z" * 64, b"\xff" * 64])
def test_a_damaged_entry_is_made_anew(file, tmp_path, damage):
    known_digest(tmp_path / "kept", [file], lambda: OTHER)
    (entry,) = (tmp_path / "kept").iterdir()
    entry.write_bytes(damage)
    assert known_digest(tmp_path / "kept", [file], lambda: DIGEST) == DIGEST
    assert entry.read_bytes() == DIGEST.encode()


def test_a_folder_that_cannot_be_written_costs_nothing(file, tmp_path, caplog):
    (tmp_path / "kept").write_text("a file where a folder should be")
    assert known_digest(tmp_path / "kept", [file], lambda: DIGEST) == DIGEST
    assert "the next run reads the weights again" in caplog.text
