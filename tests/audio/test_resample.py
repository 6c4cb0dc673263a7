"""Resampling: torchaudio's numbers, and rates of any kind."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torchaudio.transforms import Resample

from cmi_bench.audio.resample import MAX_FILTER, resample, small_ratio


@pytest.mark.parametrize("sr", [16_000, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("source_sr", [1_000, 8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_numbers_are_torchaudios(source_sr, sr):
    wave = torch.rand(source_sr // 2 + 7, generator=torch.Generator().manual_seed(source_sr)) * 2 - 1
    expected = Resample(source_sr, sr)(wave) if source_sr != sr else wave
    torch.testing.assert_close(resample(wave, source_sr, sr), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 146, 147, 148, 1_000])
def test_a_few_samples_are_resampled_too(samples):
    wave = torch.linspace(-1, 1, samples)
    for source_sr in (44_100, 48_000, 16_000):
        expected = Resample(source_sr, 24_000)(wave)
        torch.testing.assert_close(resample(wave, source_sr, 24_000), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("source_sr", "sr"), [(44_101, 24_000), (24_001, 24_000), (1_009, 24_000), (655_351, 24_000)])
def test_rates_without_a_common_divisor_keep_pitch_and_time(source_sr, sr):
    time = np.arange(source_sr) / source_sr
    # A click at half a second, and a tone.
    wave = np.sin(2 * np.pi * 100 * time) + 4 * (np.abs(time - 0.5) < 0.002)
    resampled = resample(torch.from_numpy(wave.astype(np.float32)), source_sr, sr)
    assert len(resampled) == pytest.approx(sr, abs=3)
    assert int(resampled.argmax()) / sr == pytest.approx(0.5, abs=0.004)
    spectrum = np.abs(np.fft.rfft(resampled[: sr // 2 - sr // 100].numpy() * np.hanning(sr // 2 - sr // 100)))
    assert np.argmax(spectrum) * sr / (sr // 2 - sr // 100) == pytest.approx(100, abs=2.1)


def test_filters_stay_small_and_usual_rates_keep_theirs():
    usual = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000, 384000, 768000]
    for source_sr in usual:
        for sr in (16000, 24000, 32000, 44100, 48000):
            assert small_ratio(source_sr, sr) == Fraction(source_sr, sr)
    for source_sr in (1_001, 23_999, 44_101, 655_351, 999_983):
        ratio = small_ratio(source_sr, 48_000)
        assert float(ratio) == pytest.approx(source_sr / 48_000, rel=1e-4)
        assert ratio.numerator * ratio.denominator <= MAX_FILTER
