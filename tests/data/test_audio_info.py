"""Lengths and digests of audio: from a table, from the manifest, from the files."""

import hashlib
import json

import numpy as np
import pytest
import soundfile

from cmi_bench.data import audio_info as module
from cmi_bench.data.audio_info import (
    AudioHeaders,
    DurationTable,
    FileIndex,
    ManifestDurations,
    ManifestIndex,
    read_durations,
    row_seconds,
)
from cmi_bench.data.manifest import Manifest, audio_below, update_manifest
from cmi_bench.errors import UserError


def test_a_clip_is_looked_up_by_path_then_slashes_then_name():
    table = DurationTable({"x/a.wav": 1.0, "a.wav": 2.0, "x\\c.wav": 3.0})
    assert table.seconds("x/a.wav") == 1.0
    assert table.seconds("x\\a.wav") == 1.0
    assert table.seconds("x\\c.wav") == 3.0
    assert table.seconds("elsewhere/a.wav") == 2.0
    assert table.seconds("elsewhere/b.wav") is None


def test_a_pairs_duration_is_the_mean_or_that_of_the_one_known():
    table = DurationTable({"a": 10.0, "b": 30.0})
    assert row_seconds({"audio-path": "a", "audio2": "b"}, table) == 20.0
    assert row_seconds({"audio-path": "a", "audio2": "x"}, table) == 10.0
    assert row_seconds({"audio-path": None, "audio2": "b"}, table) == 30.0
    assert row_seconds({"audio-path": "x"}, table) is None


def test_headers_are_read_from_files_under_the_root(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 16000)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    headers = AudioHeaders(tmp_path)
    assert headers.seconds("a.wav") == 0.25
    assert headers.seconds("broken.wav") is None
    assert headers.seconds("missing.wav") is None


def test_a_file_is_asked_once(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 16000)
    headers = AudioHeaders(tmp_path)
    headers.seconds("a.wav")
    (tmp_path / "a.wav").unlink()
    assert headers.seconds("a.wav") == 0.25


def test_a_file_of_durations_is_read(tmp_path):
    path = tmp_path / "durations.json"
    path.write_text(json.dumps({"a": 1, "b": 2.5}))
    assert read_durations(path).by_path == {"a": 1.0, "b": 2.5}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "a JSON list, not an object"),
        ("{", "column 2: not JSON"),
        ('{"a": "long"}', "'a' is 'long', not a number of seconds"),
        ('{"a": -1}', "'a' is -1"),
        ('{"a": NaN}', "'a' is nan"),
        ('{"a": true}', "'a' is True"),
    ],
)
def test_what_is_no_table_of_durations_is_refused(tmp_path, text, complaint):
    path = tmp_path / "durations.json"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_durations(path)


def test_a_missing_file_of_durations_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_durations(tmp_path / "none.json")


def write(path, samples, sr=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples, dtype=np.float32), sr)


def test_durations_come_from_it_as_long_as_the_file_is_the_same(tiny, monkeypatch):
    manifest = update_manifest(tiny, tiny / "m.parquet", audio_below(tiny))
    durations = ManifestDurations(tiny, manifest)
    monkeypatch.setattr(durations.otherwise, "seconds", lambda audio: f"asked {audio}")
    assert durations.seconds("pam/0.wav") == pytest.approx(0.4)
    (tiny / "pam/1.wav").unlink()
    assert durations.seconds("pam/1.wav") == pytest.approx(0.4)
    write(tiny / "pam/2.wav", np.zeros(16000))
    assert durations.seconds("pam/2.wav") == "asked pam/2.wav"
    assert durations.seconds("nowhere.wav") == "asked nowhere.wav"


def test_a_file_is_read_only_where_the_manifest_does_not_know_it(tiny, tmp_path, monkeypatch):
    manifest = update_manifest(tiny, tiny / "manifest.parquet", ["pam/0.wav", "pam/1.wav"])
    index = ManifestIndex(tiny, manifest)
    asked = []
    monkeypatch.setattr(FileIndex, "facts", lambda _self, path: asked.append(path))
    known = index.facts(tiny / "pam/0.wav")
    assert known.digest == hashlib.sha256((tiny / "pam/0.wav").read_bytes()).hexdigest()
    assert known.seconds == 0.4
    assert asked == []
    soundfile.write(tiny / "pam/1.wav", [0.0] * 99, 8000)
    others = [tiny / "pam/1.wav", tiny / "pam/2.wav", tmp_path / "elsewhere.wav"]
    for path in others:
        index.facts(path)
    assert asked == others


def test_lengths_of_files_outside_of_the_data_root_are_not_looked_up(tmp_path):
    (tmp_path / "root").mkdir()
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 16000)
    for audio in ("../a.wav", str(tmp_path / "a.wav")):
        assert AudioHeaders(tmp_path / "root").seconds(audio) is None
        assert AudioHeaders(tmp_path / "root", allow_outside=True).seconds(audio) == 0.25
        assert ManifestDurations(tmp_path / "root", Manifest()).seconds(audio) is None
        assert ManifestDurations(tmp_path / "root", Manifest(), allow_outside=True).seconds(audio) == 0.25
    assert AudioHeaders(tmp_path / "root").seconds("a\0b.wav") is None


def test_lengths_of_very_many_files_are_not_all_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_KNOWN", 2)
    for number in range(5):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(100 * (number + 1)), 1000)
    headers = AudioHeaders(tmp_path)
    assert [headers.seconds(f"{number}.wav") for number in (0, 1, 2, 3, 4, 0)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.1]
    for audio in tmp_path.iterdir():
        audio.unlink()
    assert [headers.seconds(f"{number}.wav") for number in (4, 0, 2)] == [0.5, 0.1, None]  # the last are still known
