import subprocess

from cmi_bench.tracking.metadata import git_state, versions


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
