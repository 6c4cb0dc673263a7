"""Settings of Python in Hydra's words."""

from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cmi_bench.api.words import words_of
from cmi_bench.config import ProtocolName
from cmi_bench.errors import UserError

PARSER = OverridesParser.create()
VALUES = [
    *("mini", "it's", "a\\", "a\\'b", "x, y=[1] {a}: %", "", " padded ", "naïve 歌", "null", "true", "10"),
    *(10, -1, 0.5, 1e-9, 1e300, True, False, None, [], ["a", 1, [None]]),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_arrives_as_it_is(value):
    (override,) = PARSER.parse_overrides(words_of({"key.of.it": value}))
    found = override.value()
    assert (override.key_or_group, getattr(found, "text", found)) == ("key.of.it", value)


def test_other_kinds_of_values():
    given = {"protocol": ProtocolName.paper, "path": Path("a/b"), "n": np.int64(3), "x": np.float32(0.5), "t": (1, 2)}
    words = ["protocol='paper'", "path='a/b'", "n=3", "x=0.5", "t=[1,2]"]
    assert words_of(given) == words
    with pytest.raises(UserError, match=r"metrics is a object"):
        words_of({"metrics": object()})
    with pytest.raises(UserError, match=r"limit is a dict"):
        words_of({"limit": {"a": 1}})


def test_interpolations_stay_text():
    assert words_of({"name": "${x}"}) == ["name='\\${x}'"]
