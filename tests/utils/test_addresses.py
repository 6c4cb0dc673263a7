"""Addresses of fsspec beside local paths: told apart, and a message for each that cannot be opened."""

import sys
from pathlib import Path

import pytest

from cmi_bench.errors import UserError
from cmi_bench.utils.addresses import below, open_address, place_of


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("data/cache", Path("data/cache")),
        (Path("/x"), Path("/x")),
        ("file:///x/y", Path("/x/y")),
        ("s3://bucket/x/", "s3://bucket/x"),
        ("memory://x", "memory://x"),
    ],
)
def test_an_address_is_told_from_a_path(name, place):
    assert place_of(name) == place


def test_what_is_below_a_place():
    assert below(Path("/x"), "a", "b") == Path("/x/a/b")
    assert below("s3://x", "a", "b") == "s3://x/a/b"


def test_an_address_is_opened():
    filesystem, path = open_address("memory://addresses/x")
    filesystem.pipe_file(f"{path}/file", b"content")
    assert open_address("memory://addresses")[0].cat_file("/addresses/x/file") == b"content"


def test_a_file_system_that_is_unknown_is_said():
    with pytest.raises(UserError, match="nosuch://x cannot be opened") as error:
        open_address("nosuch://x")
    assert "s3" in error.value.hint


@pytest.mark.parametrize(("address", "install"), [("oci://b/x", "Install ocifs"), ("s3://me:secret@b", "[s3]")])
def test_a_package_that_is_missing_is_named(address, install, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "_registry", {})
    with pytest.raises(UserError) as error:
        open_address(address)
    assert install in f"{error.value.what} {error.value.hint}"
    assert "secret" not in error.value.what
