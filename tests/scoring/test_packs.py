"""Packs: entries come back as they were put or not at all, whatever is torn, damaged, killed, forked or removed."""

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from cmi_bench.scoring import pack_folder
from cmi_bench.scoring.pack_index import RECORD
from cmi_bench.scoring.packs import PackStore, prune

ENTRIES = {f"key {i}": bytes([i]) * (20 + i) for i in range(5)}


@pytest.fixture(params=["folder", "address"])
def place(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return tmp_path / "store"
    monkeypatch.setattr("cmi_bench.utils.addresses.cache_folder", lambda: tmp_path / "machine")
    return f"memory://{tmp_path.name}/store"


def files(folder, suffix):
    return sorted(folder.glob(f"*{suffix}"))


def test_entries_come_back_as_they_were_put(place):
    store = PackStore(place)
    assert store.put_many(ENTRIES) == store.size().bytes
    assert store.get_many([*reversed(ENTRIES), "other"]) == ENTRIES
    assert list(store.get_many(reversed(ENTRIES))) == list(reversed(ENTRIES))
    assert store.contains_many([*ENTRIES, "other"]) == set(ENTRIES)
    assert "key 1" in store and "other" not in store and store.get("other") is None
    assert store.size().entries == 5
    sizes = store.sizes_of(["other", *ENTRIES])
    assert sizes[0] == 0 and sizes[2] - sizes[1] == 1
    store.close()
    assert PackStore(place).get_many(ENTRIES) == ENTRIES


def test_an_empty_store_is_empty_and_makes_nothing(tmp_path):
    store = PackStore(tmp_path / "store")
    assert store.get_many(["x"]) == {} and store.get_many([]) == {} and store.contains_many([]) == set()
    assert store.put_many({}) == 0
    assert store.size() == store.prune(0) == (0, 0)
    store.clear()
    store.close()
    assert not (tmp_path / "store").exists()


def test_of_a_key_that_was_put_twice_the_last_counts(place):
    one, other = PackStore(place), PackStore(place)
    one.put_many({"k": b"first"})
    other.put_many({"k": b"second"})
    assert other.get("k") == b"second"
    one.close(), other.close()
    assert PackStore(place).get("k") == b"second"
    other.discard(["k"])
    other.close()
    assert "k" not in PackStore(place) and other.get("k") is None
    other.put_many({"k": b"third"})
    assert other.get("k") == b"third"


def test_another_machine_whose_clock_is_ahead_hides_nothing(tmp_path, monkeypatch):
    ahead, here = PackStore(tmp_path), PackStore(tmp_path)
    with monkeypatch.context() as there:
        there.setattr("time.time_ns", lambda: 2**62)
        ahead.put_many({"k": b"first"})
    here.put_many({"k": b"second"})
    assert here.get("k") == PackStore(tmp_path).get("k") == b"second"


def test_what_others_write_is_seen_at_once(tmp_path):
    one, other = PackStore(tmp_path), PackStore(tmp_path)
    for number in range(20):
        one.put_many({f"one {number}": b"x" * number})
        assert other.get(f"one {number}") == b"x" * number
        other.put_many({f"other {number}": b"y" * number})
        assert one.contains_many([f"other {number}"])
    assert len(files(tmp_path, ".pack")) == 2


def test_a_pack_that_is_full_is_followed_by_another(tmp_path):
    store = PackStore(tmp_path, pack_bytes=100)
    store.put_many(ENTRIES)
    assert len(files(tmp_path, ".pack")) == 3
    assert store.get_many(ENTRIES) == ENTRIES


def test_a_store_that_is_let_go_is_gone_on_with(tmp_path):
    for key, content in ENTRIES.items():
        store = PackStore(tmp_path)
        store.put_many({key: content})
        store.close()
    assert len(files(tmp_path, ".pack")) == 1
    assert store.get_many(ENTRIES) == PackStore(tmp_path).get_many(ENTRIES) == ENTRIES


@pytest.mark.parametrize("suffix", [".pack", ".index"])
def test_a_tail_torn_at_any_byte_costs_only_what_was_torn(tmp_path, suffix):
    """A kill leaves a pack, or its index, cut anywhere behind the last entry that was whole."""
    store = PackStore(tmp_path)
    store.put_many({"a": b"first entry"})
    (pack,), (index,) = files(tmp_path, ".pack"), files(tmp_path, ".index")
    before = {path: path.stat().st_size for path in (pack, index)}
    store.put_many({"b": b"second entry"})
    store.close()
    whole = {path: path.read_bytes() for path in (pack, index)}
    (torn,) = (path for path in (pack, index) if path.suffix == suffix)
    for length in range(before[torn], len(whole[torn])):
        pack.write_bytes(whole[pack]), index.write_bytes(whole[index])
        torn.write_bytes(whole[torn][:length])
        if suffix == ".pack":
            index.write_bytes(whole[index][: before[index]])
        after = PackStore(tmp_path)
        assert after.get_many("ab") == {"a": b"first entry"}
        after.put_many({"c": b"third entry"})
        after.close()
        assert files(tmp_path, ".pack") == [pack]  # it goes on behind what was whole
        assert PackStore(tmp_path).get_many("abc") == {"a": b"first entry", "c": b"third entry"}
        assert pack.stat().st_size == before[pack] + len(b"third entry") + 32


def test_what_a_power_cut_leaves_is_not_believed(tmp_path, caplog):
    """Sizes may reach the disk before contents: a record whose entry is not there, or zeros."""
    store = PackStore(tmp_path)
    store.put_many({"a": b"first entry", "b": b"second entry"})
    store.close()
    (pack,), (index,) = files(tmp_path, ".pack"), files(tmp_path, ".index")
    os.truncate(pack, 50)
    index.write_bytes(index.read_bytes() + bytes(RECORD.itemsize))
    after = PackStore(tmp_path)
    assert after.get_many("ab") == {"a": b"first entry"}
    assert "1 entries of" in caplog.text and "damaged" in caplog.text
    after.put_many({"b": b"again", "c": b"more"})
    assert PackStore(tmp_path).get_many("abc") == {"a": b"first entry", "b": b"again", "c": b"more"}


def test_an_entry_damaged_anywhere_is_made_anew(tmp_path, caplog):
    store = PackStore(tmp_path)
    store.put_many(ENTRIES)
    (pack,) = files(tmp_path, ".pack")
    content = pack.read_bytes()
    for place in range(0, 52, 5):
        pack.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert set(store.get_many(ENTRIES)) == set(ENTRIES) - {"key 0"}
        assert "key 0" not in store and "key 0" not in PackStore(tmp_path)  # so that somebody makes it anew
        store.put_many({"key 0": ENTRIES["key 0"]})
        assert PackStore(tmp_path).get("key 0") == ENTRIES["key 0"]
        content = pack.read_bytes()
        for path in files(tmp_path, ".index"):
            path.unlink()
        for path in files(tmp_path, ".pack"):
            path.unlink()
        store = PackStore(tmp_path)
        store.put_many(ENTRIES)
        (pack,) = files(tmp_path, ".pack")
        content = pack.read_bytes()


def test_an_entry_in_the_place_of_another_one_is_not_believed(tmp_path):
    store = PackStore(tmp_path)
    store.put_many({"a": b"content a", "b": b"content b"})
    (pack,) = files(tmp_path, ".pack")
    content = pack.read_bytes()
    pack.write_bytes(content[41:] + content[:41])
    assert store.get_many("ab") == {}


def test_a_folder_that_can_only_be_read_serves_readers(tmp_path, monkeypatch):
    PackStore(tmp_path).put_many(ENTRIES)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.utime", refuse)
    monkeypatch.setattr("os.pwrite", refuse)
    assert PackStore(tmp_path).get_many(ENTRIES) == ENTRIES
    (pack,) = files(tmp_path, ".pack")
    pack.write_bytes(b"x" * 40 + pack.read_bytes()[40:])
    assert len(PackStore(tmp_path).get_many(ENTRIES)) == 4
    with pytest.raises(PermissionError):
        PackStore(tmp_path).put_many(ENTRIES)


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    store = PackStore(tmp_path)
    store.put_many({"a": b"first"})
    really = os.pwrite

    def write(descriptor, content, offset):
        if len(content) < 10:
            raise OSError(28, "No space left on device")
        return really(descriptor, content[:10], offset)

    with monkeypatch.context() as full:
        full.setattr("os.pwrite", write)
        with pytest.raises(OSError, match="No space"):
            store.put_many({"b": b"x" * 95})
    assert store.get_many("ab") == {"a": b"first"}
    store.put_many({"b": b"x" * 95})
    assert PackStore(tmp_path).get_many("ab") == {"a": b"first", "b": b"x" * 95}


def test_without_locks_each_begins_a_pack_of_its_own(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    for key, content in ENTRIES.items():
        PackStore(tmp_path).put_many({key: content})
    assert len(files(tmp_path, ".pack")) == len(ENTRIES)
    store = PackStore(tmp_path)
    assert store.get_many(ENTRIES) == ENTRIES
    assert store.prune(0).entries == len(ENTRIES)


def test_pruning_removes_what_was_not_used_for_longest(tmp_path):
    store = PackStore(tmp_path, pack_bytes=50)
    store.put_many(ENTRIES)
    packs = files(tmp_path, ".pack")
    assert len(packs) == 5
    for age, pack in enumerate(packs):
        os.utime(pack, (age, age)), os.utime(pack.with_suffix(".index"), (age, age))
    assert PackStore(tmp_path).get("key 0")  # it is used again
    removed = store.prune(sum(one.bytes for one in store.packs()) * 0.65)
    assert removed.entries == 2
    assert store.contains_many(ENTRIES) == {"key 0", "key 3", "key 4"}
    assert PackStore(tmp_path).contains_many(ENTRIES) == {"key 0", "key 3", "key 4"}


def test_stores_are_pruned_together(tmp_path):
    stores = [PackStore(tmp_path / name) for name in "ab"]
    for store in stores:
        store.put_many(ENTRIES)
        for path in store.place.iterdir():
            os.utime(path, (1, 1))
        stores[0].close()
    stores[1].put_many({"k": b"later"})
    assert prune(stores, sum(store.size().bytes for store in stores) - 1).entries == 5
    assert [store.size().entries for store in stores] == [0, 6]


def test_what_another_one_writes_to_is_not_pruned_but_can_be_cleared(place):
    writing, other = PackStore(place), PackStore(place)
    writing.put_many({"a": b"x"})
    assert other.prune(0) == (0, 0)
    assert writing.get("a") == b"x"
    other.clear()
    assert other.size() == (0, 0)
    assert "a" not in other
    writing.put_many({"b": b"y"})  # it notices, and goes on elsewhere
    assert other.get("b") == writing.get("b") == b"y"
    assert writing.prune(0).entries == 1


def test_a_reader_of_what_is_pruned_finds_it_gone(place):
    reader, writer = PackStore(place), PackStore(place)
    writer.put_many(ENTRIES)
    writer.close()
    assert len(reader.contains_many(ENTRIES)) == 5
    writer.prune(0)
    assert reader.get_many(ENTRIES) == {}
    writer.put_many(ENTRIES)
    assert reader.get_many(ENTRIES) == ENTRIES


def test_an_index_whose_pack_is_gone_holds_nothing(tmp_path):
    PackStore(tmp_path).put_many(ENTRIES)
    (pack,) = files(tmp_path, ".pack")
    pack.unlink()
    store = PackStore(tmp_path)
    assert store.get_many(ENTRIES) == {} and store.contains_many(ENTRIES) == set()
    store.put_many(ENTRIES)
    assert PackStore(tmp_path).get_many(ENTRIES) == ENTRIES


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_more_packs_than_are_kept_open(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_folder, "OPEN_PACKS", 2)
    store = PackStore(tmp_path, pack_bytes=1)
    store.put_many(ENTRIES)
    before = open_files()
    for _ in range(3):
        assert store.get_many(ENTRIES) == ENTRIES
    assert open_files() <= before + 2
    del store
    assert open_files() <= before


class _Entries(Dataset):
    def __init__(self, store, keys):
        self.store, self.keys = store, keys

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, index):
        if (content := self.store.get(self.keys[index])) is not None:
            return content
        self.store.put_many({self.keys[index]: b"by a worker"})
        return self.store.get(self.keys[index])


def test_forked_workers_read_and_write(tmp_path):
    store = PackStore(tmp_path)
    store.put_many(ENTRIES)
    loader = DataLoader(_Entries(store, [*ENTRIES, "x", "y"]), batch_size=None, num_workers=2)
    assert list(loader) == [*ENTRIES.values(), b"by a worker", b"by a worker"]
    store.put_many({"z": b"and the parent goes on"})
    assert PackStore(tmp_path).get_many(["x", "y", "z"]) == {
        "x": b"by a worker", "y": b"by a worker", "z": b"and the parent goes on"
    }  # fmt: skip


def test_a_store_can_be_sent_to_another_process(place):
    store = PackStore(place, pack_bytes=77)
    store.put_many(ENTRIES)
    sent = pickle.loads(pickle.dumps(store))
    assert (sent.place, sent.pack_bytes) == (place, 77)
    assert sent.get_many(ENTRIES) == ENTRIES


def test_threads_share_a_store(place):
    store, wrong = PackStore(place), []

    def work(number):
        for i in range(30):
            store.put_many({f"{number}-{i}": bytes([number, i])})
            if store.get(f"{number}-{i}") != bytes([number, i]):
                wrong.append((number, i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert store.size().entries == 120


CHILD = """
import sys; from pathlib import Path; from cmi_bench.scoring.packs import PackStore
store = PackStore(Path(sys.argv[1]), pack_bytes=20_000)
for i in range(100_000):
    print(i, flush=True) if i and store.get(f"{sys.argv[2]}-{i - 1}") == f"{i - 1}".encode() * 50 else None
    store.put_many({f"{sys.argv[2]}-{i}": f"{i}".encode() * 50})
"""


@pytest.mark.slow
def test_writing_processes_that_are_killed_lose_nothing_that_was_written(tmp_path):
    """What a process has read back before it was killed is there for all others; the next ones go on in its packs."""
    draw = random.Random(1)
    written = {}
    for round_ in range(2):
        processes = [
            subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), f"{round_}.{n}"], stdout=subprocess.PIPE)
            for n in range(3)
        ]
        for number, process in enumerate(processes):
            for _ in range(draw.randrange(40, 200)):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate()
            lines = rest.split(b"\n")[:-1]
            last = int(lines[-1]) if lines else last
            written |= {f"{round_}.{number}-{i}": f"{i}".encode() * 50 for i in range(last)}
    store = PackStore(tmp_path)
    assert store.get_many(written) == written
    assert len(files(tmp_path, ".pack")) < store.size().bytes / 20_000 + 4
    store.put_many({"x": b"y"})
    assert store.prune(0).entries > len(written) and store.size() == (0, 0)
