"""Stages in Lightning's predict loop: decoding processes that die, and little shared memory, cost no clip."""

import gc
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scoring_run import TRAINER

from cmi_bench.errors import RunError
from cmi_bench.scoring import trainer
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.store import MemoryScoreWriter
from cmi_bench.scoring.trainer import BatchLoader, LightningRunner, StageModule, StageProgress
from cmi_bench.training.module import OrderedLoader
from cmi_bench.types import Score
from cmi_bench.utils.distributed import Devices, this_process

HERE = os.getpid()


def load(items):
    """Return a tensor for each item; a decoding process is killed at the item 13."""
    if 13 in items and os.getpid() != HERE:
        os.kill(os.getpid(), signal.SIGKILL)
    return [torch.full((1000,), float(item)) for item in items]


class Sums:
    """Scores an item with the mean of its tensor."""

    title = "sums"
    start = 0.0
    decodes = True
    load = staticmethod(load)

    def __init__(self, items):
        self.items = items
        self.stats = RunStats()

    def pending(self):
        return list(self.items)

    def length(self, item):
        return float(item)

    def work(self, loaded, writer):
        writer.write({str(int(one.mean())): Score(float(one.mean()), 0.0) for one in loaded})


def run(items, workers=2, stage=Sums):
    writer = MemoryScoreWriter()
    runner = LightningRunner(TRAINER, Devices("cpu", 1, "cpu"), limits=BatchLimits(2, 1e9), workers=workers)
    runner.run(stage(items), writer)
    return runner, writer


class Processes(Sums):
    """Writes down which process has loaded each batch."""

    load = staticmethod(lambda items: [torch.tensor(float(os.getpid()), dtype=torch.float64)])


class Reads(Processes):
    decodes = False


@pytest.mark.parametrize(
    ("stage", "items", "starts_processes"),
    [(Processes, 2, True), (Reads, 4, False), (Reads, 6, True)],
    ids=["one batch to decode", "two batches to read", "more to read than workers"],
)
def test_processes_are_started_to_decode_and_to_read_much(stage, items, starts_processes):
    _, writer = run(range(items), workers=2, stage=stage)
    assert (str(HERE) in writer.scores) is not starts_processes
    assert len(writer.scores) <= 2


@pytest.mark.slow
def test_a_decoding_process_that_was_killed_costs_no_clip(caplog):
    runner, writer = run(range(20))
    assert sorted(map(int, writer.scores)) == list(range(20))
    assert sum("decoded in the main process" in record.message for record in caplog.records) == 1
    assert runner.workers == 0  # in the stages to come


@pytest.mark.slow
@pytest.mark.parametrize(("goes_on", "loader"), [
    (True, lambda plan: BatchLoader(plan, load, workers=1, shares_memory=True, stats=RunStats())),
    (False, lambda plan: OrderedLoader(plan, workers=1)),
])  # fmt: skip
def test_a_worker_whose_parent_was_killed_before_it_began_ends(goes_on, loader, monkeypatch, caplog):
    own, start, host = this_process().split()
    monkeypatch.setattr(trainer, "this_process", lambda: f"{own} {int(start) - 1} {host}")
    before = set(multiprocessing.active_children())  # such as joblib's
    with nullcontext() if goes_on else pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(loader([[1, 2], [3]]))
    assert set(multiprocessing.active_children()) <= before
    assert ("decoded in the main process" in caplog.text) == goes_on


@pytest.mark.parametrize("shares_memory", [True, False])
def test_batches_are_the_same_through_shared_memory_and_pipes(shares_memory):
    plan = [[1, 2], [3], []]
    found = list(BatchLoader(plan, load, workers=2, shares_memory=shares_memory, stats=RunStats()))
    assert [count for count, _ in found] == [2, 1, 0]
    assert [[int(one[0]) for one in batch] for _, batch in found] == plan


def test_more_workers_than_cores_are_the_users_choice(monkeypatch, recwarn):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    run(range(3))
    assert [str(one.message) for one in recwarn if "worker" in str(one.message)] == []


class Garbage:
    """In a cycle that nothing else refers to; writes down which processes have collected it."""

    def __init__(self, place):
        self.itself, self.place = self, place

    def __del__(self):
        (self.place / str(os.getpid())).touch()


def collect(items):
    gc.collect()
    return load(items)


def test_decoding_processes_do_not_collect_what_was_there_before(tmp_path):
    """Among it may be tensors of a GPU that they have not got."""
    gc.disable()
    try:
        Garbage(tmp_path)
        list(BatchLoader([[1]], collect, workers=1, shares_memory=False, stats=RunStats()))
    finally:
        gc.enable()
    gc.collect()
    assert [int(file.name) for file in tmp_path.iterdir()] == [HERE]


def test_ctrl_c_ends_the_run_and_is_heeded_afterwards():
    class Stopped(Sums):
        def work(self, loaded, writer):
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    runner = LightningRunner(TRAINER, Devices("cpu", 1, "cpu"), limits=BatchLimits(2, 1e9), workers=0)
    with pytest.raises(KeyboardInterrupt):
        runner.run(Stopped([1, 2, 3]), MemoryScoreWriter())
    assert signal.getsignal(signal.SIGINT) is before


def test_little_shared_memory_is_said_and_pipes_are_taken(monkeypatch, caplog):
    monkeypatch.setattr(trainer, "free_shared_memory", lambda: 1000.0)
    _, writer = run([1, 2, 3])
    assert len(writer.scores) == 3
    assert "it goes through pipes" in caplog.text
    caplog.clear()
    run([1, 2, 3], workers=0)
    assert not caplog.text


def test_what_loading_raises_is_raised():
    def broken(items):
        raise RunError("no such codec")

    with pytest.raises(RunError, match="no such codec"):
        list(BatchLoader([[1]], broken, workers=1, shares_memory=True, stats=RunStats()))


SMALL = """
from test_trainer import run
_, writer = run(range(20, 60))
assert len(writer.scores) == 40, writer.scores
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", ["64k", "0"])
def test_in_a_container_with_next_to_no_shared_memory(size, tmp_path):
    """A file system of its own at /dev/shm, as Docker mounts one; the tensors alone are larger."""
    inside = ["unshare", "-rm", "bash", "-c"]
    fill = "dd if=/dev/zero of=/dev/shm/full bs=64k 2> /dev/null;" if size == "0" else ""
    mount = f"mount -t tmpfs -o size=64k tmpfs /dev/shm && {{ {fill} true; }}"
    if not shutil.which("unshare") or subprocess.run([*inside, mount], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a file system of their own")
    done = subprocess.run(
        [*inside, f'{mount} && exec "$0" -c "$1"', sys.executable, SMALL],
        capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "pipes" in done.stderr
    assert ("main process" in done.stderr) == (size == "0")  # not even the processes' own locks find room


def test_progress_counts_the_clips_of_all_processes():
    stage = SimpleNamespace(title="scoring")
    module = StageModule(stage, SimpleNamespace(stopped=False), BatchLimits(8, 60.0), workers=0)
    module.total = 12
    first, second = (SimpleNamespace(is_global_zero=rank == 0, world_size=2) for rank in range(2))
    progress = StageProgress()

    progress.on_predict_start(first, module)
    assert (progress.bar.description, progress.bar.done, progress.bar.total) == ("scoring", 0, 12)
    progress.on_predict_batch_end(first, module, 4, None, 0)
    assert progress.bar.done == 8
    progress.on_predict_batch_end(first, module, 4, None, 1)
    assert progress.bar.done == 12  # the last batches of two processes need not be of one size

    progress.on_predict_start(second, module)
    progress.on_predict_batch_end(second, module, 4, None, 0)
    assert progress.bar.done == progress.bar.total == 0
