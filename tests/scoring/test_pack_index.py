"""The index of packs: the newest record of each key, however they came."""

import random

import numpy as np

from cmi_bench.scoring.pack_index import LATE, RECORD, PackIndex, hash_keys


def test_the_index_of_many_entries():
    """Runs that are merged, records that come late, keys that come again, packs that are dropped."""
    index, newest = PackIndex(), {}
    draw = random.Random(0)
    for step in range(16):
        numbers = draw.sample(range(20_000), draw.choice([3, 200, 6000]))
        hashed = hash_keys([str(number) for number in numbers])
        records = np.zeros(len(numbers), RECORD)
        records["high"], records["low"] = hashed[:, 0], hashed[:, 1]
        records["time"], records["offset"], records["length"] = step + 1, numbers, 1
        index.add(records, step % 4)
        newest |= dict.fromkeys(numbers, step)
    index.drop(2)
    hashed = hash_keys([str(number) for number in range(20_000)])
    found = index.newest(hashed)
    expected = [newest.get(number, 2) for number in range(20_000)]
    kept = np.array([step % 4 != 2 for step in expected])
    assert (found["length"][kept] == 1).all()
    assert (found["time"][kept] == np.array(expected)[kept] + 1).all()
    assert (found["offset"][kept] == np.arange(20_000)[kept]).all()
    assert LATE < 20_000


def test_memory_and_disk_of_an_entry():
    assert RECORD.itemsize == 32
