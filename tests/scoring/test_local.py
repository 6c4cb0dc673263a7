"""Stages without Lightning: every item once, in the plan's order, loaded ahead but not too far."""

import threading
import time

import pytest
import torch

from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.store import MemoryScoreWriter

BROKEN, TOO_MUCH = 500, 600


class Numbers:
    """Items are their own lengths; loading and working are written down."""

    title = "numbers"
    start = 0.0
    decodes = True

    def __init__(self, items):
        self.items = items
        self.stats = RunStats()
        self.loaded, self.worked = [], []
        self.ahead = 0
        self.threads = set()

    def pending(self):
        return list(self.items)

    def length(self, item):
        return float(item)

    def load(self, items):
        self.threads.add(threading.current_thread())
        self.loaded.append(items)
        if BROKEN in items:
            raise RuntimeError("cannot load")
        return items

    def work(self, loaded, writer):
        assert not torch.is_grad_enabled()
        if TOO_MUCH in loaded:
            raise RuntimeError("cannot work")
        time.sleep(0.005)
        self.ahead = max(self.ahead, len(self.loaded) - len(self.worked))
        self.worked.append(loaded)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_all_items_once_the_longest_first(workers):
    stage = Numbers(range(20))
    LocalRunner(BatchLimits(2, 100.0), workers=workers, show_progress=False).run(stage, MemoryScoreWriter())
    assert stage.worked == [[number, number - 1] for number in range(19, 0, -2)]
    assert stage.ahead <= workers + 1
    assert (threading.main_thread() in stage.threads) == (workers == 0)


def test_a_stage_may_have_limits_of_its_own():
    stage = Numbers(range(5))
    LocalRunner(BatchLimits(1, 1.0), workers=0, show_progress=False).run(
        stage, MemoryScoreWriter(), limits=BatchLimits(9, 100.0)
    )
    assert stage.worked == [[4, 3, 2, 1, 0]]


@pytest.mark.parametrize(("number", "says"), [(BROKEN, "cannot load"), (TOO_MUCH, "cannot work")])
def test_an_error_comes_out_and_no_thread_stays(number, says):
    before = threading.active_count()
    stage = Numbers([1000, number, 5, 4, 3, 2, 1])
    with pytest.raises(RuntimeError, match=says):
        LocalRunner(BatchLimits(1, 10.0), workers=2, show_progress=False).run(stage, MemoryScoreWriter())
    assert stage.worked == [[1000]]
    assert threading.active_count() == before


def test_nothing_to_do(capsys):
    LocalRunner(BatchLimits(1, 1.0), workers=2, show_progress=True).run(Numbers([]), MemoryScoreWriter())
    assert capsys.readouterr().err == ""


def test_a_writer_may_stop_the_run():
    writer = MemoryScoreWriter()
    writer.stopped = True
    stage = Numbers(range(5))
    LocalRunner(BatchLimits(1, 100.0), workers=0, show_progress=False).run(stage, writer)
    assert stage.worked == [[4]]
