"""Packs at an address: what waits on this machine, what is sent and when, and that nothing is lost between."""

import random
import subprocess
import sys

import fsspec
import pytest
from s3_bucket import s3_bucket

from cmi_bench.errors import RunError
from cmi_bench.scoring import pack_address
from cmi_bench.scoring.packs import PackStore
from cmi_bench.utils.addresses import try_to_write

ENTRIES = {f"key {i}": bytes([i]) * (20 + i) for i in range(5)}


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """An address, and the folder of what waits on this machine."""
    monkeypatch.setattr("cmi_bench.utils.addresses.cache_folder", lambda: tmp_path / "machine")
    return f"memory://{tmp_path.name}/bucket"


def there(address, suffix=".pack"):
    filesystem = fsspec.filesystem("memory")
    path = address.removeprefix("memory:/")
    return [name for name in filesystem.find(path) if name.endswith(suffix)] if filesystem.exists(path) else []


def test_entries_wait_here_and_are_sent_when_the_store_is_closed(bucket, tmp_path):
    store = PackStore(bucket)
    store.put_many(ENTRIES)
    assert not there(bucket) and store.get_many(ENTRIES) == ENTRIES
    assert PackStore(bucket).get_many(ENTRIES) == ENTRIES  # of another process on this machine
    store.close()
    assert len(there(bucket)) == len(there(bucket, ".index")) == 1
    assert not list((tmp_path / "machine").rglob("*.pack"))
    assert store.get_many(ENTRIES) == ENTRIES and store.size().entries == 5


def test_entries_are_sent_when_there_are_enough_of_them_or_time_has_passed(bucket, monkeypatch):
    store = PackStore(bucket, pack_bytes=100)
    store.put_many({"a": b"x" * 10})
    assert not there(bucket)
    store.put_many({"b": b"x" * 90})
    assert len(there(bucket)) == 1
    store.put_many({"c": b"x"})
    assert len(there(bucket)) == 1
    monkeypatch.setattr(pack_address, "LAST_PATIENCE", 0.0)
    store._state.shipment._patience = 0.0
    store.put_many({"d": b"x"})
    assert len(there(bucket)) == 2
    assert store.contains_many("abcd") == set("abcd")


def test_what_a_process_that_died_has_left_is_sent_by_the_next(bucket, tmp_path):
    left = PackStore(bucket)
    left.put_many(ENTRIES)
    left._state.writer.close()  # as the operating system does at its end
    left._state = None
    store = PackStore(bucket)
    store.put_many({"k": b"x"})
    store.close()
    assert len(there(bucket)) == 1  # it went on in the pack that was left
    assert PackStore(bucket).get_many([*ENTRIES, "k"]) == ENTRIES | {"k": b"x"}


def test_what_cannot_be_sent_is_kept_and_sent_later(bucket, monkeypatch, caplog, tmp_path):
    store = PackStore(bucket)
    store.put_many(ENTRIES)
    with monkeypatch.context() as offline:

        def refuse(*_, **__):
            raise OSError("no route to host")

        offline.setattr("fsspec.implementations.memory.MemoryFileSystem.put_file", refuse)
        store.close()
    assert "no route to host" in caplog.text and "are kept in" in caplog.text
    assert not there(bucket) and store.get_many(ENTRIES) == ENTRIES
    store.close()
    assert len(there(bucket)) == 1 and PackStore(bucket).get_many(ENTRIES) == ENTRIES


def test_an_address_that_cannot_be_read_is_said(bucket, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("credentials of me:secret have expired")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.ls", refuse)
    with pytest.raises(RunError, match=r"cannot be used: credentials of .* have expired"):
        PackStore(bucket).get("x")


def test_at_an_address_the_oldest_are_pruned_first(bucket):
    for key in "abc":
        store = PackStore(bucket)
        store.put_many({key: b"x" * 100})
        store.close()
    assert store.prune(store.size().bytes - 1).entries == 1
    assert PackStore(bucket).contains_many("abc") == set("bc")


# Two machines, each with a folder of its own for what waits: the first is killed in the middle of its work. What is
# left at their end is sent without a word of theirs, where names have to be looked up as well.
MACHINE = """
import sys; from pathlib import Path
import cmi_bench.utils.addresses as addresses
addresses.cache_folder = lambda: Path(sys.argv[2])
from cmi_bench.scoring.packs import PackStore
store = PackStore(sys.argv[1], pack_bytes=20_000)
for i in range(int(sys.argv[4])):
    store.put_many({f"{sys.argv[3]}-{i}": f"{i}".encode() * 50})
    print(i, flush=True)
"""


@pytest.fixture(scope="module")
def s3():
    with s3_bucket("packs") as address:
        yield address


@pytest.mark.slow
def test_many_machines_write_to_one_bucket(s3, tmp_path):
    address = f"{s3}/cache"

    def start(machine, count):
        words = [sys.executable, "-c", MACHINE, address, str(tmp_path / machine), machine, str(count)]
        return subprocess.Popen(words, stdout=subprocess.PIPE)

    killed, whole = start("killed", 10_000), start("whole", 300)
    for _ in range(random.Random(0).randrange(150, 250)):
        last = int(killed.stdout.readline())
    killed.kill()
    rest, _ = killed.communicate()
    last += rest.count(b"\n")
    whole.communicate()
    assert whole.wait() == 0
    expected = {f"whole-{i}": f"{i}".encode() * 50 for i in range(300)}
    store = PackStore(address)
    assert store.get_many(expected) == expected
    # What was killed has sent what was full; what waits on its machine is sent by the next process there.
    left = {f"killed-{i}": f"{i}".encode() * 50 for i in range(last + 1)}
    there = store.get_many(left)
    assert 0 < len(there) < len(left) and there.items() <= left.items()
    assert start("killed", 1).wait() == 0
    assert PackStore(address).get_many({**left, **expected}) == {**left, **expected}
    assert not list(tmp_path.rglob("*.pack"))
    assert PackStore(address).prune(0).entries >= len(left) + len(expected)
    assert PackStore(address).size() == (0, 0)


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_told_and_not_made(s3):
    filesystem = fsspec.filesystem("s3")
    try_to_write(f"{s3}/empty")
    assert filesystem.find(f"{s3}/empty") == []
    with pytest.raises(OSError, match="bucket"):
        try_to_write("s3://elsewhere/cache")
    assert not any("elsewhere" in name for name in filesystem.ls(""))
