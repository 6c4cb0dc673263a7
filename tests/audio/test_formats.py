"""Whatever form audio comes in: channels, rates, sample formats, containers, and which library reads it."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.transforms import Resample

from cmi_bench.audio import readers
from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.audio.probe import measure, probe
from cmi_bench.audio.readers import read_audio

SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]


def music(sr, seconds, channels):
    rng = np.random.default_rng((sr, channels))
    return (0.4 * rng.uniform(-1, 1, size=(int(sr * seconds), channels))).astype(np.float32)


@pytest.mark.parametrize(
    ("sr", "channels"), [(8000, 1), (11025, 2), (16000, 1), (22050, 2), (44100, 6), (48000, 6), (88200, 2), (96000, 6)]
)
def test_any_rate_and_number_of_channels(tmp_path, sr, channels):
    samples = music(sr, seconds=1.5, channels=channels)
    soundfile.write(tmp_path / "clip.wav", samples, sr, subtype="FLOAT")
    expected = Resample(sr, 24000)(torch.from_numpy(samples).mean(dim=1))
    whole = decode(tmp_path / "clip.wav", sr=24000)
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-6)
    part = decode(tmp_path / "clip.wav", sr=24000, max_dur=0.7)
    torch.testing.assert_close(part, expected[: int(0.7 * 24000)], rtol=0, atol=1e-6)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_any_sample_format(tmp_path, subtype):
    samples = music(24000, seconds=0.2, channels=2)
    soundfile.write(tmp_path / "clip.wav", samples, 24000, subtype=subtype)
    bits = {"PCM_U8": 7, "PCM_16": 15}.get(subtype, 23)
    np.testing.assert_allclose(
        decode(tmp_path / "clip.wav", sr=24000).numpy(), samples.mean(axis=1), rtol=0, atol=2.0**-bits
    )


def test_nothing_is_clipped(tmp_path):
    loud = 2.5 * np.sin(np.arange(24000) * 0.1).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", loud, 24000, subtype="FLOAT")
    np.testing.assert_array_equal(decode(tmp_path / "clip.wav", sr=24000).numpy(), loud)
    square = np.sign(np.sin(np.arange(48000) * 0.05)).astype(np.float32)
    soundfile.write(tmp_path / "square.mp3", square, 24000)
    assert decode(tmp_path / "square.mp3", sr=24000).abs().max() > 1.05  # MP3 rounds corners by overshooting


def test_only_what_is_needed_is_read(tmp_path):
    path = tmp_path / "clip.flac"
    soundfile.write(path, music(16000, seconds=60, channels=1), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])
    assert decode(path, sr=16000, max_dur=10).shape == (160000,)
    with pytest.raises(AudioError, match="get it again"):
        decode(path, sr=16000)


def test_samples_that_are_no_numbers_are_an_error(tmp_path):
    samples = np.zeros(2400, dtype=np.float32)
    samples[100] = np.nan
    soundfile.write(tmp_path / "clip.wav", samples, 24000, subtype="FLOAT")
    with pytest.raises(AudioError, match="no numbers"):
        decode(tmp_path / "clip.wav", sr=24000)
    assert np.isnan(measure(tmp_path / "clip.wav").peak)


@pytest.mark.parametrize(
    ("container", "codec"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")]
)
def test_what_a_file_is(tmp_path, container, codec):
    path = tmp_path / f"clip.{container}"
    soundfile.write(path, music(32000, seconds=3, channels=2), 32000)
    facts = probe(path)
    assert (facts.sample_rate, facts.channels, facts.codec, facts.decoder) == (32000, 2, codec, "soundfile")
    assert facts.container == container.upper()
    assert facts.seconds == pytest.approx(3)
    assert not facts.is_cut
    heard = measure(path)
    assert heard.seconds == pytest.approx(3)
    assert heard.peak == pytest.approx(float(np.abs(read_audio(path).values).max()))


@pytest.mark.parametrize("container", ["wav", "ogg", "mp3"])
def test_a_file_that_was_cut_off(tmp_path, container):
    path = tmp_path / f"clip.{container}"
    soundfile.write(path, music(32000, seconds=6, channels=1), 32000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert probe(path).is_cut
    assert measure(path).seconds < 5


def test_a_wav_of_unknown_length_is_not_cut_off(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, music(8000, seconds=1, channels=1), 8000)
    data = path.read_bytes()
    start = data.index(b"data") + 4
    path.write_bytes(data[:start] + b"\xff" * 4 + data[start + 4 :])
    assert not probe(path).is_cut


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
