"""Parts of a catalogue: which requests are whose, and what a part says of itself."""

import pickle
from pathlib import Path

import pytest
from catalogues import Stream

from cmi_bench.catalogue.parts import Shard, parse_shard, plan_parts
from cmi_bench.errors import UserError

ROOT = Path("/songs")


@pytest.mark.parametrize("sizes", [(10,), (1,) * 10, (3, 0, 7), (4, 4, 2)])
def test_parts_do_not_depend_on_how_the_stream_comes(sizes):
    parts = list(plan_parts(Stream(ROOT, *sizes), size=4))
    assert [(part.number, part.first, part.requests.num_rows) for part in parts] == [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    assert [part.digest for part in parts] == [part.digest for part in plan_parts(Stream(ROOT, 10), size=4)]
    assert [song.audio for part in parts for song in part.songs()] == [
        Path(f"/songs/{number}.wav") for number in range(10)
    ]


def test_each_part_is_of_one_shard():
    shards = [[part.number for part in plan_parts(Stream(ROOT, 23), size=4, shard=Shard(k, 3))] for k in (1, 2, 3)]
    assert shards == [[0, 3], [1, 4], [2, 5]]


def test_a_part_can_be_sent_to_another_process():
    (part,) = plan_parts(Stream(ROOT, 3), size=4)
    assert pickle.loads(pickle.dumps(part)).songs() == part.songs()


@pytest.mark.parametrize("word", ["0/4", "5/4", "1", "a/b", "1/0", "-1/3", "1/2/3"])
def test_what_is_no_shard(word):
    with pytest.raises(UserError, match="is no shard"):
        parse_shard(word)
