"""What goes wrong on the way: what can be fixed is, and everything else gets one message with what helps."""

import errno
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from fake_hub import Fault
from tiny_dataset import audio, expected

from cmi_bench.download import http, state
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
    with pytest.raises(UserError, match=r"is not what was promised: (MD5|SHA256) hash ") as error:
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
        UserError, match=r"r\.mp3 from The Hugging Face hub is not what was promised: .*size \d+ but has size \d+"
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


class Refusal(NamedTuple):
    faults: list[Fault]
    says: str
    hint: str


NOW = {"Retry-After": "0"}
UNKNOWN = {"X-Error-Code": "RepoNotFound"}
GATED = {"X-Error-Code": "GatedRepo"}
REFUSALS = {
    "rows gone": Refusal([Fault("all_test.jsonl", 404)], "it was changed upstream", "sources.rows=https://"),
    "record gone": Refusal([Fault("records/10737388", 404)], "it was changed upstream", "sources.zenodo=https://"),
    "archive gone": Refusal([Fault("/content", 410)], "it was changed upstream", "sources.zenodo=https://"),
    "repository gone": Refusal([Fault("music-arena", 404, UNKNOWN)], "without a login (404)", "hf auth login"),
    "file gone": Refusal([Fault("cdn/datasets/HaiwenXia", 404)], "files could not be had", "HF_ENDPOINT=https://"),
    "conditions": Refusal([Fault("cmi-pref", 403, GATED)], "accepted its conditions", "datasets/HaiwenXia/cmi-pref"),
    "file refused": Refusal([Fault("cdn/datasets/HaiwenXia", 403)], "without a login (403)", "hf auth login"),
    "too many": Refusal([Fault("cdn/", 429, NOW)], "asks for fewer requests (429", "jobs=2"),
    "too many listings": Refusal([Fault("/api/datasets/BAAI", 429, NOW)], "for fewer requests (429", "again later"),
    "an hour": Refusal([Fault("records/", 429, {"Retry-After": "3600"})], "for fewer requests (429", "again later"),
    "down": Refusal([Fault("/content", 503)], "does not work at the moment (503", "where it stopped"),
    "no json": Refusal([Fault("records/10737388", 200)], "answers something that is no JSON", "sources.zenodo"),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_that_lasts_gets_one_message(hub, prepare, refusal):
    hub.faults = refusal.faults
    with pytest.raises(UserError) as error:
        prepare()
    assert refusal.says in error.value.what
    assert refusal.hint in error.value.hint


def test_a_server_that_asks_for_patience_gets_it(hub, root, prepare, monkeypatch, caplog):
    waits = []
    monkeypatch.setattr(http, "pause", lambda _stop, seconds: waits.append(seconds))
    later = {"Retry-After": "7"}
    hub.faults = [Fault("/api/datasets/BAAI", 429, later, times=1), Fault("/content", 429, later, times=2)]
    hub.faults += [Fault("records/10737388", 503, times=1, method="GET"), Fault("1b.mp3", 500, times=1)]
    hub.faults += [Fault("1a.mp3", 429, {"RateLimit": '"resolvers";r=0;t=55'}, times=1)]  # as the hub says it
    caplog.set_level("INFO")
    prepare()
    assert sorted(waits) == [http.FIRST_WAIT, 7, 7, 7]  # for single files of a folder the hub's client waits itself
    assert "Waiting 7 s" in caplog.text
    assert (root / ARENA).exists()
    assert (root / ARENA.replace("1b", "1a")).exists()


def test_no_login(hub, root, prepare):
    hub.token = "hf_right"
    with pytest.raises(UserError, match="does not give BAAI/MusicEval without a login") as error:
        prepare()
    assert "hf auth login" in error.value.hint
    assert not (root / "human_eval").exists()  # known before hours of downloading


def test_a_login_that_is_not_accepted(hub, prepare, monkeypatch):
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="does not accept the login for BAAI/MusicEval") as error:
        prepare()
    assert "hf_wrong" not in str(error.value)


def test_the_login_goes_to_the_hub_only(hub, root, prepare, monkeypatch):
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    prepare()
    assert {request.authorization for request in hub.requests_for("/resolve/")} == {"Bearer hf_right"}
    others = [request for request in hub.log if request.path.startswith(("/zenodo/", "/raw/", "/cdn/"))]
    assert {request.authorization for request in others} == {None}
    assert "hf_right" not in "".join(path.read_text() for path in (root / ".prepare").rglob("*.json"))


def test_no_network(hub, prepare, monkeypatch):
    with pytest.raises(UserError, match=r"server of the rows' files cannot be reached") as error:
        prepare("sources.rows=http://127.0.0.1:1")
    assert "HTTPS_PROXY" in error.value.hint
    with pytest.raises(UserError, match="The Hugging Face hub cannot be reached") as error:
        prepare("sources.hub=http://127.0.0.1:1")
    assert "HF_ENDPOINT" in error.value.hint
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids it"):
        prepare()


def test_passwords_in_addresses_are_not_shown(hub, prepare):
    with pytest.raises(UserError) as error:
        prepare("sources.rows=http://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(error.value)


def test_a_disk_that_is_too_small_is_said_before_anything_comes(hub, root, prepare, monkeypatch):
    usage = shutil.disk_usage(root.parent)
    monkeypatch.setattr(state.shutil, "disk_usage", lambda _folder: usage._replace(free=state.RESERVE + 5000))
    with pytest.raises(UserError, match=r"not enough space at .* for the download: \d+ kB are needed") as error:
        prepare()
    assert "data.root=" in error.value.hint
    assert not hub.requests_for("/content") + hub.requests_for("/cdn/")


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


def test_an_archive_with_a_member_that_is_damaged_inside(hub, root, prepare):
    content = bytearray(hub.record[ZIP])
    inside = content.index(audio(100 + ord("a"))[44:]) + 3000
    content[inside] ^= 1  # the record's checksum is of this content: only the zip file's own tells
    hub.record[ZIP] = bytes(content)
    with pytest.raises(UserError, match=r"human_eval\.zip is damaged: Bad CRC-32"):
        prepare("subset=pam")
    assert not (root / "human_eval/music/a/0.wav").exists()
    assert not list(root.rglob("*.partial"))
