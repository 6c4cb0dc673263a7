"""Batches: planned by length, and bisected where one fails."""

import random

import pytest

from cmi_bench.errors import RunError, UserError
from cmi_bench.scoring.batching import BatchLimits, bisect, plan_batches


def plan(lengths, items=100, seconds=1e9, at_least=1):
    return plan_batches(lengths, BatchLimits(items, seconds), length=float, at_least=at_least)


def test_longest_first_and_near_lengths_together():
    assert plan([3, 10, 1, 9], items=2) == [[10, 9], [3, 1]]


def test_a_batch_is_bounded_in_seconds_and_one_long_clip_is_alone():
    assert plan([30, 30, 30, 500, 10], seconds=60) == [[500], [30, 30], [30, 10]]


def test_the_plan_does_not_depend_on_the_order_asked():
    lengths = [float(x) for x in range(50)]
    shuffled = random.Random(0).sample(lengths, k=50)
    assert plan(lengths, items=7) == plan(shuffled, items=7)


@pytest.mark.parametrize(("count", "ranks", "batches"), [(0, 1, 1), (0, 4, 4), (1, 2, 2), (5, 2, 5)])
def test_every_rank_has_a_batch(count, ranks, batches):
    planned = plan(list(range(count)), items=1, at_least=ranks)
    assert len(planned) == batches
    assert sum(map(len, planned)) == count


def test_it_may_begin_elsewhere_and_nothing_is_left_out():
    batches = plan_batches([5, 4, 3, 2, 1], BatchLimits(1, 100), length=float, start=0.5, at_least=6)
    assert batches == [[3], [2], [1], [5], [4], []]


def bisected(items, bad=(), too_many=99):
    done, blamed, calls = [], {}, []

    def work(part):
        calls.append(len(part))
        if len(part) > too_many:
            raise MemoryError("out of memory")
        if set(part) & set(bad):
            raise ValueError("bad item")
        done.extend(part)

    bisect(items, work, blame=lambda item, reason: blamed.update({item: reason}))
    return done, blamed, calls


def test_one_bad_item_costs_no_other_its_result():
    done, blamed, _ = bisected(list(range(8)), bad=[5])
    assert sorted(done) == [0, 1, 2, 3, 4, 6, 7]
    assert blamed == {5: "ValueError: bad item"}


def test_a_batch_too_large_for_memory_is_halved_until_it_fits():
    done, blamed, calls = bisected(list(range(8)), too_many=2)
    assert done == list(range(8))
    assert not blamed
    assert calls == [8, 4, 2, 2, 4, 2, 2]


def test_nothing_to_do_asks_nobody():
    assert bisected([]) == ([], {}, [])


def test_the_message_of_a_user_error_is_kept_as_it_is():
    def work(part):
        raise UserError("too short", "leave it out")

    blamed = []
    bisect([1], work, blame=lambda item, reason: blamed.append(reason))
    assert blamed == ["too short"]


def test_what_is_no_items_fault_ends_the_run():
    def work(part):
        raise RunError("The disk is full.")

    with pytest.raises(RunError):
        bisect([1, 2], work, blame=lambda item, reason: pytest.fail("nobody is to blame"))
