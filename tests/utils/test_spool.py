"""Many objects kept in a temporary file are the sequence that a tuple of them is."""

import itertools

import pytest

from cmi_bench.utils import spool
from cmi_bench.utils.spool import Spool, keep

OBJECTS = [{"number": number, "text": "ä\u2028" * number, "nan": [None, 0.1]} for number in range(50)]


@pytest.fixture(params=[10, 1 << 20])
def kept(request, monkeypatch):
    monkeypatch.setattr(spool, "READ_AT_ONCE", request.param)
    return Spool(OBJECTS, pack=lambda one: (one,), unpack=lambda packed: packed[0])


def test_it_is_what_was_put_in(kept):
    assert len(kept) == 50
    assert list(kept) == list(kept) == OBJECTS
    assert [kept[0], kept[-1], kept[20]] == [OBJECTS[0], OBJECTS[-1], OBJECTS[20]]
    assert kept[3:9:2] == OBJECTS[3:9:2]
    assert kept[:0] == []
    assert list(itertools.islice(kept, 3)) == OBJECTS[:3]
    with pytest.raises(IndexError):
        kept[50]


def test_two_loops_at_once(kept):
    assert list(zip(kept, kept, strict=True)) == list(zip(OBJECTS, OBJECTS, strict=True))


@pytest.mark.parametrize(("count", "kind"), [(0, tuple), (3, tuple), (4, Spool), (9, Spool)])
def test_few_stay_in_memory(monkeypatch, count, kind):
    monkeypatch.setattr(spool, "IN_MEMORY", 3)
    found = keep(iter(OBJECTS[:count]), unpack=lambda one: one)
    assert type(found) is kind
    assert list(found) == OBJECTS[:count]
