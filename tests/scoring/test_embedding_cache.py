"""Embeddings on disk: as they were put, never believed when damaged, and several processes at one folder."""

import os

import pytest
import torch

from cmi_bench.config import CacheConfig
from cmi_bench.scoring.embedding_cache import EmbeddingCache, claim_start, prune_after_run, spread
from cmi_bench.scoring.embedding_items import COMPACT
from cmi_bench.scoring.pack_index import RECORD
from cmi_bench.utils.addresses import below, place_of
from cmi_bench.utils.files import content_key

KEY = content_key(audio="abc", view="final")


def test_tensors_come_back_as_they_were(tmp_path):
    cache = EmbeddingCache(tmp_path)
    tensors = [torch.randn(5, 3), torch.randn(2, 3, dtype=torch.float32).to(torch.bfloat16)]
    cache.put(KEY, tensors)
    assert KEY in cache
    for found, put in zip(cache.get(KEY), tensors, strict=True):
        assert found.dtype == put.dtype
        assert torch.equal(found, put)


def test_order_of_more_than_ten_tensors_is_kept(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, [torch.full((1, 1), float(i)) for i in range(12)])
    assert [int(tensor) for tensor in cache.get(KEY)] == list(range(12))


def test_what_is_not_there_is_none(tmp_path):
    assert EmbeddingCache(tmp_path).get(KEY) is None
    assert KEY not in EmbeddingCache(tmp_path)


def test_many_entries_are_asked_for_at_once(tmp_path):
    cache = EmbeddingCache(tmp_path)
    keys = [content_key(i=i) for i in range(3)] + [content_key(i=0) + COMPACT]
    for i, key in enumerate(keys):
        cache.put(key, [torch.full((2,), float(i))])
    assert cache.contains_many([*keys, KEY]) == set(keys)
    assert {key: float(tensor[0]) for key, (tensor,) in cache.get_many([*keys, KEY]).items()} == {
        key: i for i, key in enumerate(keys)
    }
    sizes = [cache.size(compact=compact) for compact in (False, True, None)]
    assert [size.entries for size in sizes] == [3, 1, 4]
    assert sizes[0].bytes + sizes[1].bytes == sizes[2].bytes
    assert cache.size_of([*keys, KEY]) == sizes[2].bytes - 4 * RECORD.itemsize


def test_a_damaged_entry_is_as_none_and_can_be_made_anew(tmp_path, caplog):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, [torch.ones(4, 4)])
    (path,) = tmp_path.glob("*.pack")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert cache.get(KEY) is None
    assert "damaged" in caplog.text
    assert KEY not in cache and KEY not in EmbeddingCache(tmp_path)
    cache.put(KEY, [torch.ones(4, 4)])
    assert EmbeddingCache(tmp_path).get(KEY)[0].eq(1).all()


def test_an_entry_can_be_discarded(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, [torch.ones(4, 4)])
    cache.discard(KEY)
    assert KEY not in cache and EmbeddingCache(tmp_path).get(KEY) is None


def test_pruning_removes_what_scoring_and_training_have_not_used_for_longest(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, [torch.zeros(1000)])
    cache.put(KEY + COMPACT, [torch.zeros(1000)])
    cache.release()
    for path in tmp_path.rglob("*.pack"):
        age = 2 if path.parent == tmp_path else 1
        for one in (path, path.with_suffix(".index")):
            os.utime(one, (age, age))
    assert cache.prune(max_gb=6e-6).entries == 1
    assert KEY in cache and KEY + COMPACT not in cache
    cache.prune(0)
    assert cache.size() == (0, 0)


def test_what_many_machines_use_is_not_pruned_after_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("cmi_bench.utils.addresses.cache_folder", lambda: tmp_path / "machine")
    address = f"memory://{tmp_path.name}"
    for place in (str(tmp_path), address):
        cache = EmbeddingCache(below(place_of(place), "embeddings"))
        cache.put(KEY, [torch.zeros(1000)])
        cache.close()
        removed = prune_after_run(CacheConfig(dir=place, max_gb=0))
        assert removed.entries == (0 if place == address else 1)
    assert prune_after_run(CacheConfig(dir=None, max_gb=0)) == (0, 0)
    assert cache.get(KEY) and cache.prune(0).entries == 1


def test_places_are_spread_and_free_again(tmp_path):
    with claim_start(tmp_path) as first:
        with claim_start(tmp_path) as second, claim_start(tmp_path) as third:
            assert [first, second, third] == [0.0, 0.5, 0.25]
        with claim_start(tmp_path) as again:
            assert again == 0.5
    assert len({spread(number) for number in range(64)}) == 64


@pytest.mark.parametrize("error", [OSError(38, "Function not implemented"), NotImplementedError()], ids=repr)
def test_without_locks_all_begin_at_the_start(tmp_path, monkeypatch, error):
    def acquire(*_, **__):
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with claim_start(tmp_path) as first, claim_start(tmp_path) as second:
        assert (first, second) == (0.0, 0.0)
