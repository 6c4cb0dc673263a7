"""The manifest says what is true of the files, and opens only those that are new or changed."""

import hashlib
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow
import pytest
import soundfile
from filelock import FileLock
from pyarrow import parquet

from cmi_bench.data import manifest
from cmi_bench.data.manifest import audio_below, read_manifest, update_manifest


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that were looked at since it was last cleared."""
    names = []
    examine = manifest.examine

    def watched(root, path, *, decode):
        names.append(path)
        return examine(root, path, decode=decode)

    monkeypatch.setattr(manifest, "examine", watched)
    return names


def write(path, samples, sr=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples, dtype=np.float32), sr)


def test_what_it_says_of_each_file(tiny):
    write(tiny / "cmi/stereo.flac", np.full((24000, 2), 0.25), 48000)
    paths = audio_below(tiny)
    assert len(paths) == 16
    update_manifest(tiny, tiny / "manifest.parquet", paths, decode=True)
    table = pd.read_parquet(tiny / "manifest.parquet").set_index("path")
    assert list(table.index) == paths
    stereo = table.loc["cmi/stereo.flac"]
    assert (stereo["seconds"], stereo["sample_rate"], stereo["channels"]) == (0.5, 48000, 2)
    assert (stereo["container"], stereo["decoder"], stereo["peak"]) == ("FLAC", "soundfile", 0.25)
    assert not stereo["is_cut"]
    for path in paths:
        content = (tiny / path).read_bytes()
        assert table.loc[path, "sha256"] == hashlib.sha256(content).hexdigest()
        assert table.loc[path, "bytes"] == len(content)


def test_only_new_and_changed_files_are_opened(tiny, opened):
    file = tiny / "manifest.parquet"
    paths = audio_below(tiny)
    update_manifest(tiny, file, paths)
    assert sorted(opened) == paths
    opened.clear()
    before = file.stat().st_mtime_ns
    update_manifest(tiny, file, paths)
    assert opened == []
    assert file.stat().st_mtime_ns == before
    write(tiny / "pam/1.wav", np.zeros(100))  # another size
    os.utime(tiny / "pam/2.wav", ns=(1, 1))  # another time
    write(tiny / "pam/new.wav", np.zeros(100))
    (tiny / "pam/0.wav").unlink()
    manifest = update_manifest(tiny, file, audio_below(tiny))
    assert sorted(opened) == ["pam/1.wav", "pam/2.wav", "pam/new.wav"]
    assert manifest.records == read_manifest(file).records
    assert manifest.records["pam/1.wav"].seconds == 100 / 16000
    assert "pam/0.wav" not in manifest.records
    opened.clear()
    assert update_manifest(tiny, file, ["pam/1.wav"], decode=True).records["pam/1.wav"].is_silent
    assert opened == ["pam/1.wav"]


def test_files_that_cannot_be_decoded_are_in_it_with_the_reason(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    write(tmp_path / "cut.flac", np.random.default_rng(0).uniform(-1, 1, 50_000))
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    records = update_manifest(tmp_path, tmp_path / "m.parquet", audio_below(tmp_path), decode=True).records
    assert records["text.wav"].error.startswith("Cannot decode text.wav: ")
    assert records["empty.wav"].error
    assert "lost sync" in records["cut.flac"].error
    assert records["cut.flac"].seconds == pytest.approx(50_000 / 16000)  # what its header promises
    assert all(record.was_decoded for record in records.values())


@pytest.mark.parametrize("content", [b"", b"PAR1 but no table", None, "columns"])
def test_a_manifest_that_cannot_be_read_is_made_anew(tiny, content):
    file = tiny / "manifest.parquet"
    if content is None:
        pd.DataFrame({"path": ["of another version"]}).to_parquet(file)
    elif content == "columns":
        table = pyarrow.table({"path": ["of this version"], "shoe_size": [44]})
        version = {manifest.VERSION_KEY: manifest.VERSION.encode()}
        parquet.write_table(table.replace_schema_metadata(version), file)
    else:
        file.write_bytes(content)
    assert read_manifest(file).records == {}
    assert len(update_manifest(tiny, file, audio_below(tiny)).records) == 15
    assert len(read_manifest(file).records) == 15


def test_what_was_found_is_kept_when_the_work_is_stopped(tiny):
    def stop_after_three(records, total):
        assert total == 15
        for number, record in enumerate(records):
            if number == 3:
                raise KeyboardInterrupt
            yield record

    with pytest.raises(KeyboardInterrupt):
        update_manifest(tiny, tiny / "manifest.parquet", audio_below(tiny), progress=stop_after_three)
    assert len(read_manifest(tiny / "manifest.parquet").records) == 3


def test_a_place_that_cannot_be_written_to_costs_nothing_but_time(tiny, caplog):
    (tiny / "file").write_text("")
    manifest = update_manifest(tiny, tiny / "file/manifest.parquet", audio_below(tiny))
    assert len(manifest.records) == 15
    assert "cannot be kept" in caplog.text


def test_audio_below_leaves_out_hidden_folders_and_other_data_roots(tiny):
    shutil.copytree(tiny, tiny / "mini")
    shutil.copytree(tiny / "pam", tiny / ".prepare")
    write(tiny / "pam/.hidden.wav", np.zeros(10))
    (tiny / "pam/notes.txt").write_text("")
    (tiny / "pam/UPPER.WAV").write_bytes((tiny / "pam/0.wav").read_bytes())
    found = audio_below(tiny)
    assert len(found) == 16
    assert "pam/UPPER.WAV" in found


def test_the_digest_of_a_run_is_that_of_names_and_contents(tiny, tmp_path):
    paths = audio_below(tiny)
    digest = update_manifest(tiny, tiny / "m.parquet", paths).audio_digest(paths)
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    for path in paths:
        os.utime(copy / path, ns=(5, 5))
    elsewhere = update_manifest(copy, copy / "other.parquet", paths)
    assert elsewhere.audio_digest(reversed(paths)) == digest
    assert elsewhere.audio_digest(paths[1:]) != digest
    write(copy / paths[0], np.ones(10) * 0.1)
    assert update_manifest(copy, copy / "other.parquet", paths).audio_digest(paths) != digest


def test_a_lock_that_another_process_keeps_costs_nothing_but_time(tiny, monkeypatch, caplog):
    monkeypatch.setattr(manifest, "LOCK_SECONDS", 0.01)
    file = tiny / "manifest.parquet"
    with FileLock(tiny / ".manifest.parquet.lock"):
        assert len(update_manifest(tiny, file, audio_below(tiny)).records) == 15
    assert "Another process writes" in caplog.text
    assert not file.exists()


def test_what_is_no_regular_file_is_no_audio_file(tiny):
    os.mkfifo(tiny / "pam/pipe.wav")
    (tiny / "pam/folder.wav").mkdir()
    paths = ["pam/0.wav", "pam/pipe.wav", "pam/folder.wav", "pam/" + 300 * "x", "a\0b"]
    assert list(update_manifest(tiny, tiny / "manifest.parquet", paths).records) == ["pam/0.wav"]
    os.mkfifo(tiny / "pipe.parquet")
    assert read_manifest(tiny / "pipe.parquet").records == {}


def test_audio_below_ends_where_links_lead_back(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "x.wav", np.zeros(10))
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name / "up").symlink_to(tmp_path)
        (tmp_path / name / "here").symlink_to(tmp_path / name)
        (tmp_path / name / "other").symlink_to(tmp_path / other)
    assert audio_below(tmp_path) == ["a/other/x.wav", "a/x.wav", "b/other/x.wav", "b/x.wav"]


def test_audio_below_leaves_out_names_that_cannot_be_written_down(tiny, caplog):
    (tiny / os.fsdecode(b"pam/\xff.wav")).touch()
    assert len(audio_below(tiny)) == 15
    assert "Left out 1 audio files" in caplog.text
    assert "names are not UTF-8" in caplog.text


def test_audio_is_known_by_its_suffix(tmp_path):
    names = ["aac", "aif", "aiff", "flac", "m4a", "mp3", "mp4", "oga", "ogg", "opus", "wav", "webm", "wma"]
    for name in [*names, "txt", "json", "parquet", ""]:
        (tmp_path / f"a.{name}").touch()
    assert audio_below(tmp_path) == [f"a.{name}" for name in names]
