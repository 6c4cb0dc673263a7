import pytest

from cmi_bench.errors import RunError, UserError
from cmi_bench.scoring.batching import bisect


def run(items, bad=(), too_many=99):
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
    done, blamed, _ = run(list(range(8)), bad=[5])
    assert sorted(done) == [0, 1, 2, 3, 4, 6, 7]
    assert blamed == {5: "ValueError: bad item"}


def test_a_batch_too_large_for_memory_is_halved_until_it_fits():
    done, blamed, calls = run(list(range(8)), too_many=2)
    assert done == list(range(8))
    assert not blamed
    assert calls == [8, 4, 2, 2, 4, 2, 2]


def test_nothing_to_do_asks_nobody():
    assert run([]) == ([], {}, [])


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
