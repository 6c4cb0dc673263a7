"""How long clients wait before they ask again."""

import pytest

from cmi_bench.client.errors import Patience, RewardServerError
from cmi_bench.serving.wire import ErrorCode, Problem

BUSY = Problem(code=ErrorCode.BUSY, what="The queue is full.")


def waits(patience, error, *, attempts=8, is_known=True, song=0):
    elapsed, found = 0.0, []
    for attempt in range(1, attempts + 1):
        wait = patience.wait(error, attempt=attempt, elapsed=elapsed, song=song, is_known=is_known)
        if wait is None:
            break
        found.append(wait)
        elapsed += wait
    return found


def test_waits_grow_and_end_with_the_patience():
    busy = RewardServerError(BUSY, is_passing=True)
    found = waits(Patience(60.0, seed=0), busy)
    assert sum(found) <= 60 < sum(waits(Patience(1000.0, seed=0), busy))
    assert all(0.5 * 2**place <= wait <= 0.5 * 2**place * 1.25 for place, wait in enumerate(found[:5]))
    assert all(wait <= 15 * 1.25 for wait in waits(Patience(1e6, seed=0), busy, attempts=50))


def test_waits_are_settled_by_the_seed_and_differ_between_songs():
    busy = RewardServerError(BUSY, is_passing=True, wait=2.0)
    first = waits(Patience(60.0, seed=1), busy)
    assert first == waits(Patience(60.0, seed=1), busy)
    assert first[0] != waits(Patience(60.0, seed=2), busy)[0]
    assert first[0] != waits(Patience(60.0, seed=1), busy, song=1)[0]
    assert all(2.0 <= wait <= 2.5 for wait in first)


@pytest.mark.parametrize(("is_known", "attempts"), [(True, 8), (False, 2)])
def test_a_server_that_never_answered_is_given_up_sooner(is_known, attempts):
    away = RewardServerError(Problem(code=ErrorCode.NOT_READY, what="No connection."), is_passing=True)
    assert len(waits(Patience(1e6, seed=0), away, is_known=is_known)) == attempts


def test_what_will_not_change_is_not_asked_again():
    assert not waits(Patience(1e6, seed=0), RewardServerError(BUSY, is_passing=False))
