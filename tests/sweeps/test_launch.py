"""Processes that die, and what becomes of the jobs beside and after them."""

from concurrent.futures.process import BrokenProcessPool

import pytest

from cmi_bench.sweeps.callback import launch_all
from cmi_bench.sweeps.record import recorded_job

JOBS = [[f"seed={number}"] for number in range(6)]


class Pool:
    """Two jobs at a time; the jobs that `kill` do so, at most so many times."""

    def __init__(self, folder, kill):
        self.folder, self.kill, self.launched = folder, kill, []

    def launch(self, jobs, first):
        numbers = list(range(first, first + len(jobs)))
        self.launched.append(numbers)
        for pair in (numbers[at : at + 2] for at in range(0, len(numbers), 2)):
            killer = next((number for number in pair if self.kill.get(number, 0) > 0), None)
            for number in pair:
                with recorded_job(self.folder / str(number), jobs[number - first], "key"):
                    running = (self.folder / str(number) / "job.json").read_bytes()
                if killer is not None:
                    (self.folder / str(number) / "job.json").write_bytes(running)
            if killer is not None:
                self.kill[killer] -= 1
                raise BrokenProcessPool


def test_the_jobs_after_it_are_run_and_those_beside_it_once_more_alone(tmp_path):
    pool = Pool(tmp_path, {3: 2})
    launch_all([JOBS], pool.launch, tmp_path)
    assert pool.launched == [[0, 1, 2, 3, 4, 5], [4, 5], [2], [3]]
    assert '"running"' in (tmp_path / "3/job.json").read_text()
    assert all('"finished"' in (tmp_path / f"{number}/job.json").read_text() for number in (0, 1, 2, 4, 5))


def test_batches_keep_their_numbers(tmp_path):
    pool = Pool(tmp_path, {1: 1})
    launch_all([JOBS[:2], JOBS[2:]], pool.launch, tmp_path)
    assert pool.launched == [[0, 1], [2, 3, 4, 5], [0], [1]]


def test_a_launcher_that_starts_nothing_is_not_tried_again(tmp_path):
    def launch(jobs, first):
        raise BrokenProcessPool

    with pytest.raises(BrokenProcessPool):
        launch_all([JOBS], launch, tmp_path)
