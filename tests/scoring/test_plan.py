import random

import pytest

from cmi_bench.scoring.batching import BatchLimits, plan_batches


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
