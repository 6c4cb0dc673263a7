"""Counts and times of a run's processes."""

import pytest

from cmi_bench.scoring import run_stats
from cmi_bench.scoring.run_stats import RunStats, clear_stats, collect_stats


@pytest.fixture
def work(monkeypatch):
    """Let time pass: seconds on a clock that nothing else moves."""
    passed = [0.0]
    monkeypatch.setattr(run_stats.time, "perf_counter", lambda: passed[0])

    def work(seconds):
        passed[0] += seconds

    return work


def test_a_block_inside_of_another_counts_once(work):
    stats = RunStats()
    with stats.timed("encode"):
        work(1)
        with stats.timed("write"):
            work(2)
            with stats.timed("check"):
                work(4)
        with stats.timed("write"):
            work(8)
        work(16)
    work(32)
    with stats.timed("head"):
        work(64)
    assert stats.seconds == {"encode": 17, "write": 10, "check": 4, "head": 64}


def test_a_block_that_raises_is_timed(work):
    stats = RunStats()
    with pytest.raises(ValueError, match="broken"), stats.timed("encode"), stats.timed("write"):
        work(2)
        raise ValueError("broken")
    assert stats.seconds == {"write": 2, "encode": 0}


def test_waiting_is_the_loader_and_not_the_work(work):
    def loaded():
        for number in range(3):
            work(1)
            yield number
        work(0.5)

    stats = RunStats()
    for _ in stats.waiting(loaded()):
        with stats.timed("encode"):
            work(10)
        work(100)
    assert stats.seconds == {"wait": 3.5, "encode": 30}


def test_processes_are_added_up(tmp_path):
    for rank in range(2):
        stats = RunStats()
        stats.counts["files_encoded"] = 3 + rank
        stats.seconds["encode"] = 1.5
        stats.write(tmp_path, rank)
    total = collect_stats(tmp_path)
    assert (total.counts, total.seconds, total.processes) == ({"files_encoded": 7}, {"encode": 3.0}, 2)
    assert not list(tmp_path.iterdir())


def test_an_earlier_run_in_the_same_folder_is_not_added(tmp_path):
    RunStats().write(tmp_path, 0)
    clear_stats(tmp_path)
    assert collect_stats(tmp_path) == RunStats(processes=0)
