"""The loop: resumed to the bit, the same in parts, stopped early, stopped by what goes wrong."""

import errno
import json
import os
import random
import signal
from pathlib import Path

import pytest
import torch
import toy_training
from command_line import PROJECT
from safetensors.torch import load_file
from toy_training import Toy
from warm_start import WarmProcess, wait_until

from cmi_bench.errors import RunError
from cmi_bench.training import state
from cmi_bench.training.history import read_history
from cmi_bench.training.module import DivergedError
from cmi_bench.training.state import last_state, step_of


@pytest.fixture(scope="module")
def toy():
    return Toy()


class Killed(BaseException):
    """Ends a training as it is: nothing catches it."""


def kill_at(step):
    def on_write(now):
        if now == step:
            raise Killed

    return on_write


def weights(folder):
    return {
        path.parent.name: {name: one.tolist() for name, one in load_file(path).items()}
        for path in sorted(folder.glob("checkpoints/*/model.safetensors"))
    }


def assert_same(one, other):
    assert weights(one) == weights(other)
    assert (one / "history.jsonl").read_text() == (other / "history.jsonl").read_text()
    assert (one / "checkpoints.json").read_text() == (other / "checkpoints.json").read_text()


@pytest.fixture(scope="module")
def undisturbed(toy, tmp_path_factory):
    """A training with dropout, dropped inputs and averaged weights."""
    folder = tmp_path_factory.mktemp("undisturbed")
    toy.train(folder, ema_decay=0.8)
    return folder


def test_a_training_that_was_stopped_ends_with_the_same_weights(toy, undisturbed, tmp_path):
    with pytest.raises(Killed):
        toy.train(tmp_path, ema_decay=0.8, on_write=kill_at(8))
    assert step_of(last_state(tmp_path)) == 7
    fitted, _, _ = toy.train(tmp_path, ema_decay=0.8)
    assert (fitted.resumed_from, fitted.steps) == (7, 12)
    assert_same(tmp_path, undisturbed)


def test_a_training_that_is_finished_is_not_trained_again(toy, undisturbed):
    before = (undisturbed / "history.jsonl").read_text()
    fitted, kept, _ = toy.train(undisturbed, ema_decay=0.8, on_write=kill_at(4))
    assert (fitted.steps, fitted.seconds) == (12, 0.0) and kept.best in kept.figures
    assert fitted.best_scores.shape == (60, 2)
    assert (undisturbed / "history.jsonl").read_text() == before


def test_steps_in_parts_give_the_same_curve(toy, tmp_path):
    for name, parts in (("whole", 1), ("parts", 4)):
        toy.train(tmp_path / name, dropout=0.0, accumulate=parts, max_steps=5, save_seconds=60)
    whole, parts = (read_history(tmp_path / name / "history.jsonl") for name in ("whole", "parts"))
    assert [line.keys() for line in whole] == [line.keys() for line in parts]
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_the_curves_have_each_step_and_each_validation(undisturbed):
    lines = read_history(undisturbed / "history.jsonl")
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "validation/loss" in line] == [0, 4, 8, 12]
    rates = [line["train/learning rate"] for line in lines if "train/loss" in line]
    assert max(rates) == rates[3] == 0.01 and rates == [*sorted(rates[:4]), *sorted(rates[4:], reverse=True)]
    assert json.loads((undisturbed / "checkpoints.json").read_text())["best"]


def test_training_learns_what_the_rows_have(tmp_path):
    Toy(300).train(tmp_path, max_steps=40, validate_every=20, keep_every=0, batch_size=32, save_seconds=60)
    losses = [line["validation/loss"] for line in read_history(tmp_path / "history.jsonl") if "validation/loss" in line]
    assert min(losses[1:]) < losses[0] - 0.02


def test_the_last_step_is_validated_whatever_its_number(toy, tmp_path):
    toy.train(tmp_path, max_steps=6, keep_every=0)
    assert sorted(weights(tmp_path)) and "step_000006" in weights(tmp_path)


def test_training_ends_when_validation_gets_no_better(toy, tmp_path):
    fitted, kept, _ = toy.train(tmp_path, max_steps=400, patience=2, keep_every=0, lr=0.1, save_seconds=60)
    assert fitted.stopped_early and fitted.steps == kept.best + 8 < 400


def test_a_training_that_diverges_says_where_and_keeps_what_was_good(toy, tmp_path):
    broken = Toy()
    broken.embedded[3][0].windows[0][:] = float("nan")
    with pytest.raises(DivergedError, match=r"diverged in step \d+: the loss is nan") as caught:
        broken.train(tmp_path, max_steps=40, keep_every=0)
    step = int(caught.value.what.split("step ")[1].split(":")[0])
    assert "optimizer.lr=0.001" in caught.value.hint
    assert step_of(last_state(tmp_path)) == step - 1
    assert all(torch.tensor(value).isfinite().all() for one in weights(tmp_path).values() for value in one.values())
    if step > 4:
        assert "checkpoints/step_" in caught.value.hint


def test_a_loss_that_grows_beyond_measure_ends_the_training(toy, tmp_path):
    with pytest.raises(DivergedError, match="times what it was in the first step"):
        toy.train(tmp_path, lr=1000.0, max_steps=40, keep_every=0)


def test_a_full_disk_ends_the_training_and_leaves_the_last_state(toy, tmp_path, monkeypatch):
    written = state.write_bytes_atomic

    def full(path, content):
        if path.name == "step_000007.state":
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(path, content)

    monkeypatch.setattr(state, "write_bytes_atomic", full)
    with pytest.raises(RunError, match="is full") as caught:
        toy.train(tmp_path)
    assert "it goes on" in caught.value.hint
    assert step_of(last_state(tmp_path)) == 6 and "step_000004" in weights(tmp_path)


def toy_process(folder, **settings):
    """Start a training in a process of its own."""
    words = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    paths = [str(PROJECT), str(Path(toy_training.__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return WarmProcess(toy_training.main, str(folder), *words, folder=folder.parent, environment=environment)


def last_step(folder):
    return max([0, *(line["step"] for line in read_history(folder / "history.jsonl"))])


def losses_of(lines):
    return [{name: value for name, value in line.items() if "loss" in name} for line in lines]


LONG = {"max_steps": 60, "validate_every": 10, "keep_every": 20, "ema_decay": 0.9}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"accumulate": 2, "workers": 2}], ids=["plain", "parts and workers"])
def test_killed_three_times_at_random_a_training_ends_with_the_same_weights(tmp_path, settings):
    toy_process(tmp_path / "undisturbed", **LONG, **settings).finish()
    chance, steps = random.Random(13), []
    for _ in range(3):
        process = toy_process(tmp_path / "killed", **LONG, **settings)
        target = (steps[-1] if steps else 0) + chance.randint(4, 16)
        wait_until(lambda target=target: last_step(tmp_path / "killed") >= target, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        steps.append(step_of(last_state(tmp_path / "killed")))
    assert 0 < steps[0] < steps[1] < steps[2] < 60
    toy_process(tmp_path / "killed", **LONG, **settings).finish()
    assert_same(tmp_path / "killed", tmp_path / "undisturbed")


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one_and_go_on_when_killed(tmp_path):
    settings = {"max_steps": 30, "validate_every": 10, "keep_every": 20, "dropout": 0.0}
    toy_process(tmp_path / "one", **settings).finish()
    toy_process(tmp_path / "two", **settings, devices=2).finish()
    one, two = (read_history(tmp_path / name / "history.jsonl") for name in ("one", "two"))
    assert [line.keys() for line in one] == [line.keys() for line in two]
    # Not what is drawn by chance (what calibration error there would be of luck alone), nor counts of pairs.
    for line, other in zip(losses_of(one), losses_of(two), strict=True):
        assert line == pytest.approx(other, abs=1e-5)

    process = toy_process(tmp_path / "killed", **settings, devices=2)
    wait_until(lambda: last_state(tmp_path / "killed") is not None, process)
    process.kill()
    process.wait(60)
    toy_process(tmp_path / "killed", **settings, devices=2).finish()
    assert_same(tmp_path / "killed", tmp_path / "two")
