"""Embeddings on disk: as they were put, never believed when damaged, and several processes at one folder."""

import hashlib
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save

from cmi_bench.scoring.embedding_cache import EmbeddingCache, claim_start, is_finite, spread
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


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_a_damaged_entry_is_removed_and_never_believed(tmp_path, damage, caplog):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, [torch.ones(4, 4)])
    path = cache.path(KEY)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    damaged = {"flip": bytes(content), "cut": bytes(content[:50]), "empty": b"", "foreign": b"x" * 400}
    path.write_bytes(damaged[damage])
    assert cache.get(KEY) is None
    assert not path.exists()
    assert "damaged" in caplog.text


def test_an_entry_under_another_ones_name_is_not_believed(tmp_path):
    cache, other = EmbeddingCache(tmp_path), content_key(audio="another", view="final")
    cache.put(KEY, [torch.ones(4, 4)])
    cache.put(other, [torch.zeros(4, 4)])
    right, wrong = cache.path(KEY).read_bytes(), cache.path(other).read_bytes()
    cache.path(KEY).write_bytes(wrong)
    cache.path(other).write_bytes(right)
    assert cache.get(KEY) is cache.get(other) is None


def test_tensors_under_a_right_name_and_their_own_digest_are_not_believed(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, [torch.ones(4, 4)])
    forged = save({"0": torch.zeros(4, 4)})
    cache.path(KEY).write_bytes(hashlib.sha256(forged).digest() + forged)
    assert cache.get(KEY) is None
    assert KEY not in cache


def test_pruning_removes_what_was_not_used_for_longest(tmp_path):
    cache = EmbeddingCache(tmp_path)
    keys = [content_key(i=i) for i in range(4)]
    for key in keys:
        cache.put(key, [torch.zeros(1000)])
        time.sleep(0.02)
    cache.get(keys[0])  # the oldest is used again
    one = cache.size().bytes / 4
    removed = cache.prune(max_gb=2.5 * one / 1e9)
    assert removed.entries == 2
    assert [key in cache for key in keys] == [True, False, False, True]
    assert cache.size().entries == 2
    cache.prune(0)
    assert cache.size() == (0, 0)


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


@pytest.mark.slow
def test_processes_that_fill_one_cache_at_once_do_no_harm(tmp_path):
    code = (
        "import sys, torch; from pathlib import Path; from cmi_bench.utils.files import content_key\n"
        "from cmi_bench.scoring.embedding_cache import EmbeddingCache\n"
        "cache = EmbeddingCache(Path(sys.argv[1]))\n"
        "for i in range(60):\n"
        "    key = content_key(i=i)\n"
        "    cache.put(key, [torch.full((50, 8), float(i))])\n"
        "    assert cache.get(key)[0].eq(i).all()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    cache = EmbeddingCache(tmp_path)
    assert cache.size().entries == 60
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_what_is_finite(dtype):
    tensor = torch.zeros(3, 2, dtype=dtype)
    assert is_finite(tensor) and is_finite(tensor[:0])
    for value in (float("nan"), float("inf"), -float("inf")):
        tensor[1, 1] = value
        assert not is_finite(tensor)
