"""Resampling: what torchaudio's resampler gives, and rates that have no common divisor."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from torchaudio.transforms import Resample

from cmi_bench.audio.resample import MAX_FILTER, resample, small_ratio


@pytest.mark.parametrize(
    ("source_sr", "sr"), list(itertools.permutations((8000, 16000, 22050, 24000, 32000, 44100, 48000), 2))
)
def test_it_is_torchaudios_to_the_last_bit(source_sr, sr):
    waveform = torch.randn(2, 3, 5003)
    assert torch.equal(resample(waveform, source_sr, sr), Resample(source_sr, sr)(waveform))


@pytest.mark.parametrize("samples", [1, 2, 147, 148])
def test_short_waveforms_have_their_share_of_samples(samples):
    assert resample(torch.zeros(samples), 44100, 24000).shape == (-(-samples * 80 // 147),)


def test_the_same_rate_changes_nothing():
    waveform = torch.randn(100)
    assert resample(waveform, 24000, 24000) is waveform


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
