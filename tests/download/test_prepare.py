"""`task=prepare` against servers that answer as the real ones do."""

import io

import numpy as np
import pytest
import soundfile
from tiny_dataset import audio, expected, jsonl, rows, table, zipped

from cmi_bench.data.manifest import read_manifest
from cmi_bench.errors import UserError


def files(root):
    """What is in the data root, without what is hidden."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }


def assert_complete(root, hub, *, training=False):
    found = files(root)
    found.pop("manifest.parquet")
    wanted = expected(hub, training=training)
    assert found.keys() == wanted.keys()
    for path, content in wanted.items():
        assert content is None or found[path] == content, path


def test_everything_comes_and_the_second_run_asks_nobody(hub, root, prepare, capsys):
    prepare()
    assert_complete(root, hub)
    shown = capsys.readouterr().out
    for name in ("PAM", "MusicEval", "Music Arena", "CMI-Pref", "free"):
        assert name in shown
    assert "All there: 16 audio files" in shown
    assert not [request for request in hub.log if "not-in-the-rows" in request.path]
    # One request for each file: what it must be is known from the listing.
    fetched = [request.path for request in hub.log if "/resolve/" in request.path]
    assert len(fetched) == len(set(fetched)) == 4 + 5 + 1
    hub.log.clear()
    prepare()
    assert hub.log == []
    assert "To fetch" not in capsys.readouterr().out
    assert not list(root.rglob("*.partial"))
    assert not list(root.rglob("*.zip")) + list(root.rglob("*.parquet"))[1:]


def test_the_manifest_knows_what_has_come(root, prepare):
    prepare()
    records = read_manifest(root / "manifest.parquet").records
    assert len(records) == 16
    assert all(record.was_decoded and not record.is_silent and record.error is None for record in records.values())


def test_music_eval_keeps_the_samples_form_and_order(root, prepare):
    prepare()
    samples, sr = soundfile.read(root / "MusicEval_data/test_audio/2.wav", dtype="int16")
    wanted, _ = soundfile.read(io.BytesIO(audio(320, container="FLAC")), dtype="int16")
    np.testing.assert_array_equal(samples, wanted)
    assert soundfile.info(root / "MusicEval_data/test_audio/2.wav").subtype == "PCM_16"
    assert sr == 16000


def test_only_the_subset_and_the_rows_that_are_asked_for(hub, root, prepare):
    prepare("subset=cmi_pref", "limit=1")
    assert files(root).keys() == {
        "all_test.jsonl", "manifest.parquet", "cmi-pref/gen-audio/0a.mp3", "cmi-pref/gen-audio/0b.mp3"
    }  # fmt: skip
    assert not hub.requests_for("MusicEval") + hub.requests_for("zenodo") + hub.requests_for("music-arena")


def test_training_data_come_where_they_are_asked_for(hub, root, prepare):
    prepare("data.with_training=true")
    assert_complete(root, hub, training=True)
    hub.log.clear()
    prepare("data.with_training=true")
    assert hub.log == []


def test_a_folder_that_somebody_else_filled_is_taken_as_it_is(hub, root, prepare):
    for path, content in expected(hub).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content or audio(1))
    prepare()
    assert hub.log == []


def test_what_is_missing_or_damaged_is_fetched_and_nothing_else(hub, root, prepare):
    prepare()
    before = {path: (root / path).stat().st_mtime_ns for path in files(root)}
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
    after = {path: (root / path).stat().st_mtime_ns for path in files(root)}
    assert {path for path in after if after[path] != before[path]} == {arena, pref, eval_, pam, "manifest.parquet"}


def test_damage_is_mended_in_a_folder_that_somebody_else_filled(hub, root, prepare):
    for path, content in expected(hub).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content or audio(1))
    (root / "cmi-pref/gen-audio/0a.mp3").write_bytes(b"an error page")
    prepare()
    assert (root / "cmi-pref/gen-audio/0a.mp3").read_bytes() == expected(hub)["cmi-pref/gen-audio/0a.mp3"]
    assert [request.path.rpartition("/")[2] for request in hub.log if "/resolve/" in request.path] == ["0a.mp3"]


def test_a_file_that_is_broken_upstream_is_not_fetched_for_ever(hub, root, prepare, caplog):
    hub.repos["dataset", "HaiwenXia/cmi-pref"]["gen-audio/0a.mp3"] = b"no audio" * 100
    prepare()
    assert "cmi-pref/gen-audio/0a.mp3" in caplog.text
    hub.log.clear()
    prepare()
    assert hub.log == []


def test_an_archive_that_was_not_unpacked_is_not_fetched_again(hub, root, prepare):
    archive = root / ".prepare/pam/human_eval.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(hub.record["human_eval.zip"])
    prepare()
    assert_complete(root, hub)
    assert not hub.requests_for("/content")


@pytest.mark.parametrize(
    "name", ["human_eval/music/../../../out.wav", "../out.wav", "/tmp/out.wav", "human_eval\\..\\..\\out.wav"]
)
def test_an_archive_whose_names_lead_out_is_refused(hub, root, prepare, name):
    hub.record["human_eval.zip"] = zipped({"human_eval/music/a/0.wav": audio(100), name: b"evil"})
    with pytest.raises(UserError, match="leads out of its folder"):
        prepare("subset=pam")
    assert not list(root.parent.rglob("out.wav"))
    assert not (root / "human_eval").exists()


def test_rows_whose_paths_lead_out_are_refused(hub, root, prepare):
    hub.files["data/all_test.jsonl"] = jsonl([rows()[0] | {"audio-path": "cmi-pref/../../out.mp3"}])
    with pytest.raises(UserError, match="leads out of its folder"):
        prepare()
    assert not list(root.parent.rglob("out.mp3"))


def test_rows_that_name_what_nobody_has(hub, root, prepare):
    hub.files["data/all_test.jsonl"] = jsonl([rows()[0] | {"audio-path": "elsewhere/1.mp3"}])
    with pytest.raises(UserError, match=r"Nobody here knows where to get elsewhere/1\.mp3"):
        prepare()


def test_files_that_upstream_no_longer_has(hub, root, prepare):
    del hub.repos["dataset", "HaiwenXia/cmi-pref"]["gen-audio/1b.mp3"]
    with pytest.raises(UserError, match=r"HaiwenXia/cmi-pref has no cmi-pref/gen-audio/1b\.mp3"):
        prepare()


def test_a_table_with_fewer_clips_than_the_rows_name(hub, root, prepare):
    hub.repos["dataset", "BAAI/MusicEval"]["data/test-00000-of-00001.parquet"] = table([audio(300)])
    with pytest.raises(UserError, match=r"has 1 clips, the rows name MusicEval_data/test_audio/1\.wav"):
        prepare("subset=musiceval")


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"<html>not found</html>", b""])
def test_a_rows_file_that_is_none(hub, root, prepare, content):
    hub.files["data/all_test.jsonl"] = content
    with pytest.raises(UserError, match="is no file of benchmark rows"):
        prepare()
    assert not (root / "all_test.jsonl").exists()


def test_mini_is_its_own_source(hub, prepare, mini_root, capsys):
    prepare(
        "data=mini",
        f"data.root={mini_root}",
        f"data.jsonl={mini_root}/all_test.jsonl",
        f"data.manifest={mini_root}/m.parquet",
    )
    assert hub.log == []
    assert "All there: " in capsys.readouterr().out
