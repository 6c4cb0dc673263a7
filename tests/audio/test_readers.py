"""Which library reads a file, and what is said where none can."""

import shutil
import subprocess
import sys

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
