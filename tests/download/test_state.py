"""What a data root holds and lacks: damage is found, and only that is fetched again."""

import shutil

import pytest
from tiny_dataset import assert_complete, audio, expected, files_below, jsonl, rows

from cmi_bench.download import state
from cmi_bench.errors import UserError


def test_what_is_missing_or_damaged_is_fetched_and_nothing_else(hub, root, prepare):
    prepare()
    before = {path: (root / path).stat().st_mtime_ns for path in files_below(root)}
    hub.log.clear()
    arena, pref, eval_, pam = (
        "MusicArena_data/audio_files/01-2025JULAUG/0a.mp3",
        "cmi-pref/gen-audio/1b.mp3",
        "MusicEval_data/test_audio/1.wav",
        "human_eval/music/b/0.wav",
    )
    (root / arena).unlink()
    (root / pref).write_bytes((root / pref).read_bytes()[:-700])  # cut off
    changed = bytearray((root / eval_).read_bytes())
    changed[200] ^= 1  # one bit
    (root / eval_).write_bytes(changed)
    (root / pam).write_bytes(audio(5))  # another clip
    prepare()
    assert_complete(root, hub)
    assert {request.path.rpartition("/")[2] for request in hub.log if "/resolve/" in request.path} == {
        "0a.mp3", "1b.mp3", "test-00000-of-00001.parquet"
    }  # fmt: skip
    after = {path: (root / path).stat().st_mtime_ns for path in files_below(root)}
    assert {path for path in after if after[path] != before[path]} == {arena, pref, eval_, pam, "manifest.parquet"}


def test_damage_is_fixed_in_a_folder_that_somebody_else_filled(hub, root, prepare):
    for path, content in expected(hub).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content or audio(1))
    (root / "cmi-pref/gen-audio/0a.mp3").write_bytes(b"an error page")
    prepare()
    assert (root / "cmi-pref/gen-audio/0a.mp3").read_bytes() == expected(hub)["cmi-pref/gen-audio/0a.mp3"]
    assert [request.path.rpartition("/")[2] for request in hub.log if "/resolve/" in request.path] == ["0a.mp3"]


def test_a_folder_that_somebody_else_filled_is_taken_as_it_is(hub, root, prepare):
    for path, content in expected(hub).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content or audio(1))
    prepare()
    assert hub.log == []


def test_rows_whose_paths_lead_out_are_refused(hub, root, prepare):
    hub.files["data/all_test.jsonl"] = jsonl([rows()[0] | {"audio-path": "cmi-pref/../../out.mp3"}])
    with pytest.raises(UserError, match="outside of the data root"):
        prepare()
    assert not list(root.parent.rglob("out.mp3"))


def test_a_disk_that_is_too_small_is_said_before_anything_comes(hub, root, prepare, monkeypatch):
    usage = shutil.disk_usage(root.parent)
    monkeypatch.setattr(state.shutil, "disk_usage", lambda _folder: usage._replace(free=state.RESERVE + 5000))
    with pytest.raises(UserError, match=r"not enough space at .* for the download: [\d.]+ kB are needed") as error:
        prepare()
    assert "data.root=" in error.value.hint
    assert not hub.requests_for("/content") + hub.requests_for("/cdn/")
