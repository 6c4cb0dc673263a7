import subprocess

import pytest
from command_line import configured

from cmi_bench.tracking.metadata import git_state, look_up, read_metadata, resolved_config, versions


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_git_state_knows_commit_and_dirt(tmp_path):
    assert git_state(tmp_path).commit is None
    git(tmp_path, "init")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    clean = git_state(tmp_path)
    assert len(clean.commit) == 40
    assert clean.dirty is False
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path).dirty is True


def test_versions_say_what_is_missing_too(monkeypatch):
    monkeypatch.setattr("cmi_bench.tracking.metadata.PACKAGES", ("numpy", "no-such-package"))
    found = versions()
    assert found["no-such-package"] == "not installed"
    assert found["numpy"][0].isdigit()


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text('{"a": {"b": 1}}')
    assert read_metadata(path) == {"a": {"b": 1}}


def test_a_missing_file_is_no_warning(tmp_path, caplog):
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


def test_addresses_in_the_configuration_lose_their_passwords():
    config = configured("tracking.uri='http://me:SECRET@host'", "tracking.artifacts='sftp://me:SECRET@host/store'")
    found = resolved_config(config)
    assert found["tracking"]["uri"] == "http://***@host"
    assert found["tracking"]["artifacts"] == "sftp://***@host/store"
    assert "SECRET" not in str(found)
    assert found["seed"] == config.seed
