"""Which library reads a file, and what is said where none can."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cmi_bench.audio import readers
from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.audio.probe import measure, probe
from cmi_bench.audio.readers import read_audio

M4A_WITHOUT_SOUND = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + b"\0\0\0\x08free" + bytes(100)


def test_without_torchcodec_an_m4a_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "torchcodec_version", lambda: None)
    (tmp_path / "clip.m4a").write_bytes(M4A_WITHOUT_SOUND)
    for use in (lambda path: decode(path, sr=24000), probe, measure):
        with pytest.raises(AudioError, match=r"torchcodec.*is not installed") as error:
            use(tmp_path / "clip.m4a")
        assert "pip install '.[codec]'" in error.value.hint


def test_torchcodec_without_ffmpeg_is_explained(tmp_path, monkeypatch):
    # A package of its name that says what the real one says where it finds no FFmpeg.
    package = tmp_path / "torchcodec"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('Could not load libtorchcodec. FFmpeg is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(readers, "torchcodec_version", lambda: "1.0")
    (tmp_path / "clip.m4a").write_bytes(M4A_WITHOUT_SOUND)
    with pytest.raises(AudioError, match="Could not load libtorchcodec") as error:
        decode(tmp_path / "clip.m4a", sr=24000)
    assert "FFmpeg" in error.value.hint


def needs_torchcodec():
    if readers.torchcodec_version() is None:
        pytest.skip("torchcodec is not installed (pip install '.[codec]')")
    if shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program to make the file with")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "options"), [("m4a", ["-c:a", "aac"]), ("webm", ["-c:a", "libopus"]), ("aac", ["-c:a", "aac"])]
)
def test_torchcodec_reads_what_libsndfile_does_not(tmp_path, suffix, options):
    needs_torchcodec()
    tone = np.stack([0.4 * np.sin(np.arange(48000 * 8) * step) for step in (0.06, 0.1)], axis=1).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", tone, 48000)
    path = tmp_path / f"clip.{suffix}"
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", tmp_path / "clip.wav", "-b:a", "192k", *options, path], check=True
    )
    assert read_audio(path).decoder == probe(path).decoder == "torchcodec"
    whole = decode(path, sr=24000)
    assert len(whole) / 24000 == pytest.approx(8, abs=0.15)
    assert probe(path).seconds == pytest.approx(8, abs=0.4)
    for seconds in (0.5, 3.0, 30.0):
        part = decode(path, sr=24000, max_dur=seconds)
        torch.testing.assert_close(part, whole[: int(seconds * 24000)], rtol=0, atol=1e-6)
    # The same music, but for what the codec made of it and where it begins.
    expected = decode(tmp_path / "clip.wav", sr=24000)
    assert whole[24000:72000].std() == pytest.approx(float(expected[24000:72000].std()), rel=0.02)
    assert measure(path).peak == pytest.approx(0.5, abs=0.2)


@pytest.mark.slow
def test_a_file_that_neither_library_reads(tmp_path):
    needs_torchcodec()
    (tmp_path / "clip.m4a").write_bytes(M4A_WITHOUT_SOUND)
    with pytest.raises(AudioError, match=r"libsndfile: Format not recognised\. torchcodec: "):
        decode(tmp_path / "clip.m4a", sr=24000)


def pipe(path):
    os.mkfifo(path)


NO_FILES = [
    ("pipe.wav", pipe, "named pipe"),
    ("folder.wav", lambda path: path.mkdir(), "a folder"),
    ("device.wav", lambda path: path.symlink_to("/dev/urandom"), "a device"),
    ("x" * 300 + ".wav", lambda path: None, "File name too long"),
    ("a\0b.wav", lambda path: None, "Not a file's name"),
    ("clip.raw", lambda path: path.write_bytes(bytes(1000)), "files have no header"),
    ("clip.wav", lambda path: soundfile.write(path, np.zeros(100), 100), "its sampling rate is 100 Hz"),
]


@pytest.mark.parametrize("use", [lambda path: decode(path, 24000), probe, measure], ids=["decode", "probe", "measure"])
@pytest.mark.parametrize(("name", "make", "says"), NO_FILES, ids=[says for *_, says in NO_FILES])
def test_what_is_no_audio_file_is_refused_at_once(tmp_path, use, name, make, says):
    make(tmp_path / name)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(AudioError, match=says) as error:
        use(tmp_path / name)
    assert error.value.hint
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_is_too_large_for_a_song_is_not_searched_for_frames(tmp_path, monkeypatch):
    path = tmp_path / "film.mkv"
    path.write_bytes(bytes(100_000))
    monkeypatch.setattr(readers, "find_frames", lambda data: pytest.fail("searched") if data else None)
    monkeypatch.setattr(readers, "MAX_MP3_BYTES", 99_999)
    with pytest.raises(AudioError, match=r"Cannot decode .*film\.mkv"):
        probe(path)
