"""The measurement of stores: each way gives back what was put, and counts and prunes it."""

import pytest

from benchmarks.stores import WAYS, find_all, keys_of


@pytest.mark.parametrize("way", WAYS)
def test_every_way_keeps_what_it_was_given(tmp_path, way):
    store, entries = WAYS[way](tmp_path / "store"), {key: bytes.fromhex(key) for key in keys_of(20)}
    store.put(entries)
    assert WAYS[way](tmp_path / "store").get(list(entries)) == entries
    if way != "JSON lines":  # one process at a time is enough for what is compared
        assert set(find_all(way, tmp_path / "store", 20)) == {"open", "lookup", "alone_us", "memory_mb", "count"}
        store.prune(100)
        assert store.count() < 20
