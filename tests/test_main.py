"""Folders and disks that a run cannot write to: one message, exit code 1, and nothing scored is lost."""

import contextlib
import errno
import json
import os
import resource

import pytest
from command_line import run_command
from quick_runs import mini_words, read_rows

from cmi_bench.hydra_errors import explain


@pytest.fixture
def run(mini_root):
    def run(folder, *words):
        quick = ["model=random", "device=cpu", "workers=0"]
        return run_command(*mini_words(mini_root), *quick, *words, f"hydra.run.dir={folder}")

    return run


@contextlib.contextmanager
def largest_file(size):
    """Let no file grow beyond so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("place", "says"),
    [("file", "a file is where a folder is needed"), ("file/run", "a file is where a folder is needed")],
)
@pytest.mark.parametrize("option", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_that_is_a_file(tmp_path, place, says, option):
    (tmp_path / "file").write_text("")
    words = ["-m"] if option == "hydra.sweep.dir" else []
    done = run_command(*words, "task=list", "run_folders=[]", f"{option}={tmp_path}/{place}")
    assert done.returncode == 1
    assert f"{tmp_path}/{place} cannot be used: {says}.\n  -> Name another" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_costs_no_score(run, tmp_path):
    with largest_file(60_000):  # more than the stored scores have, and less than the results
        done = run(tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/results.jsonl cannot be written: File too large.\n  -> Make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results.jsonl").exists()
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr
    counts = json.loads((tmp_path / "metadata.json").read_text())["counts"]
    assert counts["from_store"] == counts["clips"]
    assert len(read_rows(tmp_path)) == 120


def test_a_log_that_cannot_be_written_is_said_once_and_the_run_goes_on(run, tmp_path):
    (tmp_path / "run.log").symlink_to("/dev/full")
    done = run(tmp_path, "limit=2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("run.log cannot be written (No space left on device): the run goes on without it.") == 1
    assert "Traceback" not in done.stderr
    assert len(read_rows(tmp_path)) == 8


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.EROFS, "x cannot be used: Read-only file system.\n  -> Name another"),
        (errno.EACCES, "x cannot be used: Permission denied.\n  -> Name another"),
        (errno.ENOSPC, "x cannot be written: No space left on device.\n  -> Make room"),
    ],
)
def test_what_the_system_says_of_a_file_is_explained(code, says):
    assert explain(OSError(code, os.strerror(code), "x")).startswith(says)
    assert explain(OSError(errno.ENOENT, "No such file", "x")) is None  # of ours, unless somebody caught it
