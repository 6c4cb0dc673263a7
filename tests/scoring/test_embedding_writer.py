"""What is computed on a GPU is stored beside what is computed next; here the CPU is taken for one."""

import threading

import pytest
import torch

from cmi_bench.errors import RunError
from cmi_bench.scoring import embedding_writer
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_writer import EmbeddingWriter
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.utils.files import content_key

KEYS = [content_key(number=number) for number in range(6)]
ENTRIES = {key: [torch.full((2, 3), float(number)), torch.ones(number)] for number, key in enumerate(KEYS)}


def entries(*numbers):
    return {KEYS[number]: ENTRIES[KEYS[number]] for number in numbers}


class Gated(EmbeddingCache):
    """Stores nothing before its gate is open."""

    def __init__(self, place):
        super().__init__(place)
        self.gate, self.is_full = threading.Event(), False

    def put(self, key, tensors):
        assert self.gate.wait(20)
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().put(key, tensors)


@pytest.fixture
def gated(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_writer, "is_on_gpu", lambda entries: True)
    cache = Gated(tmp_path)
    writer = EmbeddingWriter(cache, RunStats())
    yield cache, writer
    cache.gate.set()
    writer.close()


def assert_stored(cache, numbers):
    found = cache.get_many(KEYS)
    assert set(found) == {KEYS[number] for number in numbers}
    for key, tensors in found.items():
        assert all(map(torch.equal, tensors, ENTRIES[key]))


def test_what_the_cpu_has_computed_is_stored_at_once(tmp_path):
    cache, stats = EmbeddingCache(tmp_path), RunStats()
    EmbeddingWriter(cache, stats).store(entries(0, 1))
    assert_stored(cache, [0, 1])
    assert stats.counts["bytes_stored"] == cache.size().bytes
    assert stats.seconds["write"] > 0


def test_a_batch_is_stored_while_the_next_is_computed_and_before_it_is(gated):
    cache, writer = gated
    writer.store(entries(0, 1))
    assert_stored(cache, [])
    writer.check()  # and nothing is waited for
    threading.Timer(0.05, cache.gate.set).start()
    writer.store(entries(2, 3))
    assert set(KEYS[:2]) <= cache.contains_many(KEYS)
    writer.wait()
    assert_stored(cache, [0, 1, 2, 3])
    assert writer.stats.counts["bytes_stored"] == cache.size().bytes


def test_a_full_disk_is_said_with_the_next_batch(gated):
    cache, writer = gated
    writer.store(entries(0, 1))
    cache.is_full = True
    cache.gate.set()
    with pytest.raises(RunError, match=r"The disk that holds .* is full"):
        writer.store(entries(2))
    cache.is_full = False
    writer.store(entries(4))
    writer.wait()
    assert_stored(cache, [4])


def test_a_full_disk_is_said_before_more_is_computed(gated):
    cache, writer = gated
    cache.is_full = True
    cache.gate.set()
    writer.store(entries(0))
    with pytest.raises(RunError, match=r"is full"):
        for _ in range(10_000):
            writer.check()
            threading.Event().wait(0.001)


def test_a_full_disk_is_said_at_the_end(gated):
    cache, writer = gated
    cache.is_full = True
    writer.store(entries(0))
    cache.gate.set()
    with pytest.raises(RunError, match=r"is full"):
        writer.wait()
    writer.wait()  # said once


def test_a_run_that_ends_early_loses_nothing_that_was_computed(gated):
    cache, writer = gated
    writer.store(entries(0, 1, 2, 3, 4, 5))
    threading.Timer(0.05, cache.gate.set).start()
    writer.close()
    assert_stored(cache, range(6))
