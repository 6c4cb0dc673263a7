"""Counting content addresses in eight bytes each gives what sets of strings give."""

import random

from cmi_bench.scoring.key_set import KeySet
from cmi_bench.utils.files import content_key


def test_as_a_set_of_strings_does():
    rng = random.Random(0)
    keys, known = KeySet(), set()
    for _ in range(40):
        block = [content_key(number=rng.randrange(300)) for _ in range(rng.randrange(20))]
        is_new = keys.add(block).tolist()
        assert is_new == [key not in known and key not in block[:place] for place, key in enumerate(block)]
        known.update(block)
        assert len(keys) == len(known)
    asked = [content_key(number=number) for number in range(400)]
    assert keys.contain(asked).tolist() == [key in known for key in asked]


def test_nothing_is_in_an_empty_one():
    keys = KeySet()
    assert keys.add([]).tolist() == []
    assert keys.contain([content_key(number=1)]).tolist() == [False]
    assert len(keys) == 0
