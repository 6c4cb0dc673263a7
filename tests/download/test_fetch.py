"""Files over HTTP: what breaks on the way is taken up, what is wrong is not kept."""

import errno
from pathlib import Path

import pytest
from fake_hub import Fault
from tiny_dataset import expected

from cmi_bench.download import fetch
from cmi_bench.errors import UserError

ARENA = "MusicArena_data/audio_files/01-2025JULAUG/1b.mp3"


ZIP = "human_eval.zip"


def flipped(content):
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def test_a_wrong_checksum_is_fetched_once_more(hub, root, prepare):
    hub.faults = [Fault(ZIP, change=flipped, times=1), Fault("cdn/datasets/BAAI", change=flipped, times=1)]
    hub.faults += [Fault("cdn/datasets/HaiwenXia/cmi-pref/gen-audio/0a.mp3", change=flipped, times=1)]
    prepare()
    for path, content in expected(hub).items():
        assert content is None or (root / path).read_bytes() == content


@pytest.mark.parametrize(("file", "subset"), [(ZIP, "pam"), ("1b.mp3", "music_arena"), ("test-00000", "musiceval")])
def test_a_checksum_that_stays_wrong(hub, root, prepare, file, subset):
    hub.faults = [Fault(f"/{file}", change=flipped)]
    with pytest.raises(UserError, match=r"is not what was promised: its (MD5|SHA256) is ") as error:
        prepare(f"subset={subset}")
    assert file in error.value.what
    assert "try again later" in error.value.hint
    notes = (".lock", ".metadata")  # of the hub's client
    assert not [path for path in root.rglob(f"{file}*") if path.suffix not in notes]  # neither whole nor in part
    # Others of the same kind have come all the same.
    assert (root / ARENA.replace("1b", "1a")).exists() == (subset == "music_arena")


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub, root, prepare):
    size = len(hub.record[ZIP])
    hub.faults = [Fault(ZIP, cut_after=9000, times=1), Fault(ZIP, cut_after=5000, times=1)]
    prepare("subset=pam")
    assert [request.range for request in hub.requests_for("/content")] == [None, "bytes=9000-", "bytes=14000-"]
    assert size > 14000
    assert (root / "human_eval/music/a/0.wav").read_bytes() == expected(hub)["human_eval/music/a/0.wav"]


def test_a_file_that_is_shorter_than_promised(hub, root, prepare):
    hub.faults = [Fault(f"cdn/datasets/HaiwenXia/cmi-pref/{'ref-audio'}", change=lambda content: content[:-50])]
    with pytest.raises(
        UserError, match=r"r\.mp3 from The Hugging Face hub is not what was promised: it has [\d,]+ bytes instead of"
    ) as error:
        prepare("subset=cmi_pref")
    assert "cut off or changed upstream" in error.value.hint
    assert not (root / "cmi-pref/ref-audio/r.mp3").exists()
    assert (root / "cmi-pref/gen-audio/1b.mp3").exists()


def test_a_start_that_the_server_does_not_go_on_from_is_thrown_away(hub, root, prepare):
    partial = root / ".prepare/pam" / f"{ZIP}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(hub.record[ZIP][:6000])
    hub.faults = [Fault(ZIP, status=416, times=1)]
    prepare("subset=pam")
    assert (root / "human_eval/music/b/1.wav").read_bytes() == expected(hub)["human_eval/music/b/1.wav"]


def test_the_start_of_another_file_is_no_start(hub, root, prepare):
    partial = root / ".prepare/pam" / f"{ZIP}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(6000))
    prepare("subset=pam")
    assert [request.range for request in hub.requests_for("/content")] == ["bytes=6000-", None]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_on_the_way(hub, root, prepare):
    partial = root / ".prepare/pam" / f"{ZIP}.partial"
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(UserError, match="no space left") as error:
        prepare("subset=pam")
    assert isinstance(error.value.__cause__, OSError)
    assert error.value.__cause__.errno == errno.ENOSPC
    assert "where it stopped" in error.value.hint


def test_a_data_root_that_is_a_file(root, prepare):
    root.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        prepare()


def test_a_server_that_drips_is_given_up_and_what_came_is_kept(hub, root, prepare, monkeypatch):
    monkeypatch.setattr(fetch, "WINDOW", 0.02)
    monkeypatch.setattr(fetch, "SLOWEST", 10**6)
    hub.faults = [Fault(ZIP, seconds_per_chunk=0.03)]
    with pytest.raises(UserError, match=r"Zenodo cannot be reached: less than 1,000,000 bytes per second of ") as error:
        prepare("subset=pam")
    assert "goes on where it stopped" in error.value.hint
    came = (root / ".prepare/pam" / f"{ZIP}.partial").stat().st_size
    assert 4096 <= came < len(hub.record[ZIP])
    hub.faults.clear()
    hub.log.clear()
    prepare("subset=pam")
    assert [request.range for request in hub.requests_for("/content")] == [f"bytes={came}-"]


def test_a_server_that_sends_more_than_it_promised(hub, root, prepare):
    hub.faults = [Fault(ZIP, change=lambda content: content + bytes(10**6))]
    with pytest.raises(UserError, match=r"human_eval\.zip from Zenodo is not what was promised: it has [\d,]+ bytes"):
        prepare("subset=pam")
    assert not list(root.rglob("*.partial"))


def test_a_server_that_sends_without_end(hub, root, prepare, monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST_UNKNOWN", 5000)
    hub.files["data/all_test.jsonl"] = b'{"source": "x"}\n' * 10**5
    with pytest.raises(UserError, match="it has more than 5,000 bytes"):
        prepare("subset=pam")
    assert not list(root.rglob("*.partial"))
