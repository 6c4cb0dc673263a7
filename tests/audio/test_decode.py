"""Whatever form audio comes in: channels, rates, sample formats, containers."""

import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample as torchaudio_resample
from torchaudio.transforms import Resample

from cmi_bench.audio.decode import AudioError, AudioForm, decode, decode_forms, is_finite
from cmi_bench.audio.probe import measure

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


def test_a_thousand_channels_are_averaged(tmp_path):
    samples = noise(16000, seconds=0.2, channels=1024)
    soundfile.write(tmp_path / "clip.wav", samples, 16000, subtype="FLOAT")
    np.testing.assert_allclose(
        decode(tmp_path / "clip.wav", 16000).numpy(), samples.astype(np.float64).mean(axis=1), rtol=0, atol=1e-6
    )


def test_a_header_that_claims_a_length_without_end_is_no_reason_to_reserve_it(tmp_path):
    path = tmp_path / "clip.flac"
    samples = noise(16000, seconds=1.0)
    soundfile.write(path, samples, 16000)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the upper four of the 36 bits that count samples (FLAC, STREAMINFO)
    path.write_bytes(data)
    assert soundfile.info(path).frames > 1 << 35
    tracemalloc.start()
    with pytest.raises(AudioError, match="get it again"):
        decode(path, 16000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


@pytest.mark.parametrize(("sr", "is_read"), [(999, False), (1_000, True), (1_000_000, True), (1_000_001, False)])
def test_sampling_rates_have_bounds(tmp_path, sr, is_read):
    soundfile.write(tmp_path / "clip.wav", noise(sr, seconds=0.1), sr)
    if is_read:
        assert len(decode(tmp_path / "clip.wav", 24000)) == 2400
    else:
        with pytest.raises(AudioError, match=f"its sampling rate is {sr:,} Hz; 1,000 to 1,000,000 Hz are read"):
            decode(tmp_path / "clip.wav", 24000)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_what_is_finite(dtype):
    tensor = torch.zeros(3, 2, dtype=dtype)
    assert is_finite(tensor) and is_finite(tensor[:0])
    for value in (float("nan"), float("inf"), -float("inf")):
        tensor[1, 1] = value
        assert not is_finite(tensor)


FORMS = [AudioForm(24000, 1.0), AudioForm(16000, 1.0), AudioForm(24000, None), AudioForm(48000, 0.3)]


@pytest.mark.parametrize("container", FORMATS)
def test_a_file_read_once_for_several_models_is_what_each_reads(tmp_path, container):
    path = tmp_path / f"clip.{container}"
    soundfile.write(path, noise(44100, seconds=2.0, channels=2), 44100)
    found = decode_forms(path, [*FORMS, *FORMS])
    assert list(found) == FORMS
    for form, waveform in found.items():
        torch.testing.assert_close(waveform, decode(path, *form), rtol=0, atol=1e-6)


def test_a_file_that_is_damaged_behind_what_one_model_needs_is_decoded_for_that_one(tmp_path):
    path = tmp_path / "clip.flac"
    soundfile.write(path, noise(44100, seconds=3.0), 44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = decode_forms(path, [AudioForm(24000, 0.5), AudioForm(24000, None)])
    torch.testing.assert_close(found[AudioForm(24000, 0.5)], decode(path, 24000, 0.5))
    with pytest.raises(AudioError) as alone:
        decode(path, 24000)
    assert found[AudioForm(24000, None)].what == alone.value.what
