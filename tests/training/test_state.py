"""The state that a training goes on from, and where it is found again."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cmi_bench.errors import RunError, UserError
from cmi_bench.training import resume, state
from cmi_bench.training.resume import read_claim, take_up
from cmi_bench.training.state import StateFiles, last_state, state_file, states, step_of, write_finished
from cmi_bench.utils.distributed import this_process


def write(folder, *steps):
    for step in steps:
        StateFiles().save_checkpoint({"step": step, "weights": torch.tensor([float(step)])}, state_file(folder, step))


def test_the_last_two_states_are_kept_and_the_last_is_found(tmp_path):
    write(tmp_path, 5, 20, 100)
    assert [step_of(path) for path in states(tmp_path / "state")] == [20, 100]
    assert StateFiles().load_checkpoint(last_state(tmp_path)) == {"step": 100, "weights": torch.tensor([100.0])}


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-3], lambda content: b"x" + content[1:], lambda content: b""]
)
def test_of_a_damaged_state_the_one_before_is_taken(tmp_path, damage, caplog):
    write(tmp_path, 5, 20)
    file = state_file(tmp_path, 20)
    file.write_bytes(damage(file.read_bytes()))
    assert step_of(last_state(tmp_path)) == 5
    assert "step_000020.state is damaged" in caplog.text
    with pytest.raises(ValueError, match="not as it was written"):
        StateFiles().load_checkpoint(file)


def test_a_full_disk_leaves_the_last_state(tmp_path, monkeypatch):
    write(tmp_path, 5)

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state, "write_bytes_atomic", full)
    with pytest.raises(RunError, match="is full"):
        write(tmp_path, 20)
    assert step_of(last_state(tmp_path)) == 5


def test_a_finished_training_has_no_state_but_its_outcome(tmp_path):
    write(tmp_path, 5, 20)
    write_finished(tmp_path, {"steps": 25})
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["finished.state"]
    assert StateFiles().load_checkpoint(last_state(tmp_path)) == {"steps": 25}


def begun(folder, key="key", **options):
    take_up(folder, key, **({"index": folder.parent / "index", "resume": True} | options))


def left_by(folder, *, process="1 0 elsewhere"):
    """Write what a training leaves that was killed: on another machine, as far as anybody can tell."""
    begun(folder)
    write(folder, 5)
    (folder / "checkpoints" / "step_000004").mkdir(parents=True)
    (folder / "checkpoints" / "step_000004" / "model.safetensors").write_text("weights")
    (folder / "history.jsonl").write_text('{"step": 5}\n')
    (folder / "state" / "training.json").write_text(f'{{"key": "key", "process": "{process}"}}')


def test_the_same_training_in_a_new_folder_goes_on_with_what_the_old_one_wrote(tmp_path):
    left_by(tmp_path / "old")
    begun(tmp_path / "new")
    new = tmp_path / "new"
    assert step_of(last_state(new)) == 5 and last_state(tmp_path / "old") is None
    assert (new / "checkpoints" / "step_000004" / "model.safetensors").read_text() == "weights"
    assert (new / "history.jsonl").read_text() == '{"step": 5}\n'
    assert (tmp_path / "old" / "checkpoints" / "step_000004").is_dir()
    assert read_claim(new).process == this_process()
    (new / "history.jsonl").write_text("")  # the copy is its own
    assert (tmp_path / "old" / "history.jsonl").read_text() == '{"step": 5}\n'


def test_where_no_links_can_be_made_files_are_copied(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    left_by(tmp_path / "old")
    monkeypatch.setattr(os, "link", refuse)
    begun(tmp_path / "new")
    assert step_of(last_state(tmp_path / "new")) == 5


@pytest.mark.parametrize("options", [{"resume": False}, {"index": None}, {"key": "another"}])
def test_a_training_begins_anew_where_nothing_is_to_be_taken_over(tmp_path, options):
    left_by(tmp_path / "old")
    begun(tmp_path / "new", **options)
    assert last_state(tmp_path / "new") is None and step_of(last_state(tmp_path / "old")) == 5


def test_an_old_folder_that_is_gone_is_none(tmp_path):
    left_by(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "moved")
    begun(tmp_path / "new")
    assert last_state(tmp_path / "new") is None


def test_in_its_own_folder_a_training_goes_on_or_begins_anew(tmp_path):
    left_by(tmp_path / "old")
    begun(tmp_path / "old", index=None)
    assert step_of(last_state(tmp_path / "old")) == 5
    begun(tmp_path / "old", index=None, resume=False)
    assert last_state(tmp_path / "old") is None and not (tmp_path / "old" / "checkpoints").exists()


def test_another_training_is_not_written_over(tmp_path):
    left_by(tmp_path / "old")
    with pytest.raises(UserError, match="is another training's") as caught:
        begun(tmp_path / "old", key="another")
    assert "hydra.run.dir" in caught.value.hint
    assert step_of(last_state(tmp_path / "old")) == 5


def test_checkpoints_of_nobody_knows_what_are_not_written_over(tmp_path):
    (tmp_path / "own" / "checkpoints" / "step_000001").mkdir(parents=True)
    with pytest.raises(UserError, match="nobody knows"):
        begun(tmp_path / "own")


def test_a_training_that_runs_is_not_trained_twice(tmp_path):
    sleeping = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = Path(f"/proc/{sleeping.pid}/stat").read_text().rpartition(")")[2].split()[19]
    host = this_process().split(" ", 2)[2]
    left_by(tmp_path / "old", process=f"{sleeping.pid} {start} {host}")
    try:
        with pytest.raises(UserError, match=f"runs already, in .*old .process {sleeping.pid}"):
            begun(tmp_path / "new")
        begun(tmp_path / "beside", resume=False)
        assert resume.read_claim(tmp_path / "beside") is not None
    finally:
        sleeping.communicate(b"\n")
    left_by(tmp_path / "again", process=f"{sleeping.pid} {start} {host}")
    begun(tmp_path / "new")
    assert step_of(last_state(tmp_path / "new")) == 5
