"""The spool: raw samples as files, copies from below a root only, and folders that go with their requests."""

import hashlib
import os

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from cmi_bench.serving.refused import RefusedError
from cmi_bench.serving.spool import SpoolFolder, wav_header


@pytest.fixture
def spool(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with SpoolFolder() as spool:
        yield spool
    assert list(tmp_path.glob("cmi-bench-serve-*")) == []


def written(folder, name, content):
    file = folder.new(name)
    file.write(content)
    return file.finished()


def test_raw_samples_become_the_file_that_scipy_writes(spool, tmp_path):
    samples = np.linspace(-1.5, 1.5, 600, dtype=np.float32).reshape(300, 2)
    wavfile.write(tmp_path / "expected.wav", 44100, samples)
    with spool.request() as folder:
        raw = written(folder, "mine", samples.tobytes())
        found = folder.as_wav(raw, sample_rate=44100, channels=2)
        assert found.path.read_bytes() == (tmp_path / "expected.wav").read_bytes()
        assert found.digest == hashlib.sha256(found.path.read_bytes()).hexdigest()
        assert (found.name, found.sha256) == ("mine", hashlib.sha256(samples.tobytes()).hexdigest())
        assert np.array_equal(soundfile.read(found.path, dtype="float32")[0], samples)


@pytest.mark.parametrize("size", [0, 3, 12])
def test_what_is_no_whole_number_of_frames_is_refused(spool, size):
    with spool.request() as folder, pytest.raises(RefusedError, match="no whole number of frames"):
        folder.as_wav(written(folder, "a", bytes(size)), sample_rate=8000, channels=2)


def test_the_header_says_how_long_the_samples_are():
    assert len(wav_header(80, sample_rate=8000, channels=1)) == 58


def test_a_copy_is_from_below_the_root(spool, tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    (root / "a" / "song.wav").write_bytes(b"inside")
    (outside / "secret.wav").write_bytes(b"outside")
    (root / "link.wav").symlink_to(outside / "secret.wav")
    (root / "folder").symlink_to(outside)
    (root / "inner.wav").symlink_to(root / "a" / "song.wav")
    os.mkfifo(root / "pipe.wav")
    with spool.request() as folder:
        for name in ("a/song.wav", "a/../a/song.wav", "inner.wav", str(root / "a" / "song.wav")):
            copy = folder.copy_below(root, name, max_bytes=100)
            assert (copy.path.read_bytes(), copy.path.parent) == (b"inside", folder.path)
        for name in (
            *("../outside/secret.wav", "a/../../outside/secret.wav", str(outside / "secret.wav"), "link.wav"),
            *("folder/secret.wav", "gone.wav", "pipe.wav", "a", "", "a\0b", "/dev/zero", "x" * 5000),
        ):
            with pytest.raises(RefusedError, match="There is no file") as refused:
                folder.copy_below(root, name, max_bytes=100)
            assert refused.value.problem.code == "not_found"
        with pytest.raises(RefusedError, match="more than 5 bytes"):
            folder.copy_below(root, "a/song.wav", max_bytes=5)


def test_a_folder_goes_when_the_last_one_lets_it_go(spool):
    with spool.request() as folder:
        file = written(folder, "evil/../../name.WAV", b"x")
        assert file.path.parent == folder.path
        assert file.path.suffix == ".WAV"
        other = folder.hold()
    assert folder.path.is_dir()
    other.release()
    assert not folder.path.exists()


def test_what_killed_servers_left_is_removed(spool, tmp_path):
    left = tmp_path / "cmi-bench-serve-old"
    left.mkdir()
    (left / "lock").touch()
    (left / "song.wav").write_bytes(b"x")
    with SpoolFolder() as other:
        assert not left.exists()
        assert spool.folder.is_dir()
        assert other.folder != spool.folder
