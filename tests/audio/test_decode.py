import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample as torchaudio_resample

from cmi_bench.audio.decode import AudioError, decode

FORMATS = ["wav", "flac", "ogg", "mp3"]


def noise(sr, seconds, channels=1):
    return 0.4 * np.random.default_rng(sr).uniform(-1, 1, size=(int(sr * seconds), channels)).astype(np.float32)


@pytest.mark.parametrize("sr", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("container", FORMATS)
def test_reading_a_part_equals_reading_all_and_cropping(tmp_path, container, sr):
    path = tmp_path / f"clip.{container}"
    soundfile.write(path, noise(sr, seconds=3.0, channels=2), sr)
    whole = decode(path, sr=24000)
    part = decode(path, sr=24000, max_dur=1.3)
    assert part.shape == (int(1.3 * 24000),)
    torch.testing.assert_close(part, whole[: part.shape[0]], rtol=0, atol=1e-6)


def test_mean_of_channels_then_torchaudios_resampler(tmp_path):
    samples = noise(48000, seconds=0.5, channels=2)
    soundfile.write(tmp_path / "clip.wav", samples, 48000, subtype="FLOAT")
    expected = torchaudio_resample(torch.from_numpy(samples.mean(axis=1)), 48000, 24000)
    torch.testing.assert_close(decode(tmp_path / "clip.wav", sr=24000), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_formats_are_scaled_to_one(tmp_path, subtype):
    samples = np.array([0.5, -0.5, 0.25, 0.0], dtype=np.float64)
    soundfile.write(tmp_path / "clip.wav", samples, 24000, subtype=subtype)
    np.testing.assert_allclose(decode(tmp_path / "clip.wav", sr=24000).numpy(), samples, atol=1 / 128)


def test_a_clip_shorter_than_the_crop_stays_as_it_is(tmp_path):
    soundfile.write(tmp_path / "clip.wav", noise(24000, 0.25), 24000)
    assert decode(tmp_path / "clip.wav", sr=24000, max_dur=120).shape == (6000,)


@pytest.mark.parametrize("content", [None, b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_cannot_be_decoded_is_named(tmp_path, content):
    path = tmp_path / "clip.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=r"clip\.wav"):
        decode(path, sr=24000)


def test_a_file_without_samples_is_an_error(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.zeros(0, dtype=np.float32), 24000)
    with pytest.raises(AudioError, match="no audio samples"):
        decode(tmp_path / "clip.wav", sr=24000)
