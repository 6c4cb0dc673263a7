"""Several pieces of work at once: each by its share of the threads, whatever happens to one of them."""

import gc
import os
import signal
import threading
import time
import weakref
from collections import Counter

import pytest
import torch

from cmi_bench.models.threads import Interrupted, in_threads, plan_rounds


@pytest.fixture(autouse=True)
def threads():
    """Compute with four threads, whatever the machine has, and leave the setting as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def in_a_new_thread(work):
    """Return what `work` returns in a thread that has not computed yet."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(
    ("sizes", "workers", "rounds"),
    [
        ([], 4, []),
        ([5], 4, [([0], 1)]),
        ([30, 30], 2, [([0, 1], 2)]),
        ([30, 30, 30], 2, [([0, 1], 2), ([2], 1)]),
        ([1, 30, 12, 30, 30], 2, [([1, 3], 2), ([4], 1), ([2], 1), ([0], 1)]),  # none waits for one twice its size
        ([30, 25, 23], 2, [([0, 1], 2), ([2], 1)]),
        ([10] * 7, 3, [([0, 1, 2, 3, 4, 5], 3), ([6], 1)]),
        ([10] * 3, 64, [([0, 1, 2], 3)]),
        ([0, 0], 2, [([0, 1], 2)]),
        ([3, 3], 1, [([0, 1], 1)]),
    ],
)
def test_rounds(sizes, workers, rounds):
    assert [tuple(one) for one in plan_rounds(sizes, workers)] == rounds


def test_results_come_in_order_from_as_many_threads_as_are_allowed():
    together, counts = threading.Barrier(4, timeout=30), Counter()

    def work(item):
        together.wait()  # returns where four are at it at once
        counts[torch.get_num_threads()] += 1
        return item * item

    assert in_threads(work, range(8), sizes=[1] * 8, at_once=9) == [n * n for n in range(8)]
    assert counts == {1: 8}


@pytest.mark.parametrize(
    ("items", "at_once", "expected"), [(3, 2, [2, 2, 4]), (1, 4, [4]), (3, 4, [1, 1, 1]), (2, 0, [4, 4])]
)
def test_threads_are_shared_out(items, at_once, expected):
    found = in_threads(lambda _: torch.get_num_threads(), range(items), sizes=[1] * items, at_once=at_once)
    assert found == expected


def test_the_process_computes_as_before_afterwards():
    in_threads(lambda _: torch.get_num_threads(), range(4), sizes=[1] * 4, at_once=4)
    assert torch.get_num_threads() == 4
    assert in_a_new_thread(torch.get_num_threads) == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("crew")]


def test_a_failure_reaches_the_caller_and_nothing_is_begun_after_it():
    begun, failed, failing = [], threading.Event(), []
    four = threading.Barrier(4, timeout=30)

    def work(item):
        begun.append(item)
        four.wait()
        if item == 1:
            failing.append(threading.current_thread())
            failed.set()
            raise ValueError("no such note")
        failed.wait(30)
        failing[0].join(30)

    with pytest.raises(ValueError, match="no such note"):
        in_threads(work, range(40), sizes=[1] * 40, at_once=4)
    assert sorted(begun) == [0, 1, 2, 3]
    assert torch.get_num_threads() == in_a_new_thread(torch.get_num_threads) == 4


class Large:
    """Stands for tensors."""


def test_a_failure_keeps_no_memory():
    kept = []

    def work(item):
        large = Large()
        kept.append(weakref.ref(large))
        raise MemoryError

    gc.disable()
    try:
        with pytest.raises(MemoryError):
            in_threads(work, range(4), sizes=[1] * 4, at_once=4)
        del work
        assert [reference() for reference in kept] == [None] * len(kept)
    finally:
        gc.enable()


def test_an_interrupt_ends_all_workers_at_once():
    ended, four = [], threading.Barrier(4, timeout=30)

    def work(item):
        try:
            if four.wait() == 0:  # one of them
                os.kill(os.getpid(), signal.SIGINT)
            while True:  # operations, one after the other
                time.sleep(0.001)
        except BaseException as error:
            ended.append(type(error))
            raise

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(100), sizes=[1] * 100, at_once=4)
    assert ended == [Interrupted] * 4
    assert torch.get_num_threads() == in_a_new_thread(torch.get_num_threads) == 4
