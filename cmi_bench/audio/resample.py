"""Resample waveforms by windowed sinc interpolation.

Bit by bit as torchaudio's `Resample`, so that models hear what they heard in training. torchaudio itself is not needed:
its wheels each load beside one build of torch only.
"""

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ZERO_CROSSINGS = 6
"""Of the sinc on each side, where the window ends."""
ROLLOFF = 0.99
"""The cutoff as a share of the lower Nyquist frequency."""
MAX_FILTER = 1 << 22
"""Coefficients of a resampler, which has a filter for each of `sr / gcd` phases. Usual pairs of rates need some
thousands; 44,101 to 24,000 Hz would need a thousand million."""


def resample(waveform: Tensor, source_sr: int, sr: int) -> Tensor:
    """Resample as torchaudio's `Resample` does with its defaults.

    Two rates with a small common divisor (one of them is odd) are resampled by the nearest ratio of smaller numbers,
    whose filters stay within `MAX_FILTER`; it differs by less than 1 in 10,000, which nobody hears.

    Args:
        waveform: float32 [..., samples] at `source_sr` Hz, one sample or more.
        source_sr: Sampling rate of the waveform, Hz.
        sr: Sampling rate wanted, Hz.

    Returns:
        [..., ceil(samples * sr / source_sr)], of odd rates by the nearest ratio.
    """
    if source_sr == sr:
        return waveform
    ratio = small_ratio(source_sr, sr)
    source, target = ratio.numerator, ratio.denominator
    bank = _filter_bank(ratio)
    samples = waveform.shape[-1]
    padded = F.pad(waveform.reshape(-1, 1, samples), (bank.reach, bank.reach + source))
    phases = F.conv1d(padded, bank.filters, stride=source)
    interleaved = phases.transpose(1, 2).flatten(1)
    return interleaved[:, : math.ceil(Fraction(samples * target, source))].reshape(*waveform.shape[:-1], -1)


class _FilterBank(NamedTuple):
    filters: Tensor
    """float32 [phases, 1, taps]: output sample `j` is filter `j % phases` at source sample `j // phases * source`."""
    reach: int
    """Taps before the first sample of a frame."""


@lru_cache(maxsize=32)
def _filter_bank(ratio: Fraction) -> _FilterBank:
    """Return a filter for each phase of an output sample between source samples.

    Args:
        ratio: Source rate by target rate.
    """
    source, target = ratio.numerator, ratio.denominator
    reach = _reach(ratio)
    # Time is in frames, each of `source` samples that become `target` samples.
    crossings_per_frame = ROLLOFF * min(source, target)
    taps = torch.arange(-reach, reach + source, dtype=torch.float64) / source
    # torchaudio rounds these to float32, which moves samples by up to 7e-5: so it is what models heard.
    phases = torch.arange(target, dtype=torch.float32) / target
    crossings = (crossings_per_frame * (taps - phases.double()[:, None])).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    hann = (crossings * math.pi / (2 * ZERO_CROSSINGS)).cos().square()
    return _FilterBank((crossings_per_frame / source * hann * crossings.sinc()).float()[:, None], reach)


def _reach(ratio: Fraction) -> int:
    return math.ceil(ZERO_CROSSINGS * ratio.numerator / (min(ratio.numerator, ratio.denominator) * ROLLOFF))


def small_ratio(source_sr: int, sr: int) -> Fraction:
    """Return the ratio of two rates, or the nearest to it whose filters have at most `MAX_FILTER` coefficients."""
    exact = ratio = Fraction(source_sr, sr)
    phases = float(sr)
    while _coefficients(ratio) > MAX_FILTER and phases > 1:
        phases *= 0.9
        # Of a rate that is far below the other it is the numerator that has to stay exact.
        ratio = (
            exact.limit_denominator(math.ceil(phases))
            if exact >= 1
            else 1 / (1 / exact).limit_denominator(math.ceil(phases))
        )
    return ratio


def _coefficients(ratio: Fraction) -> int:
    return ratio.denominator * (ratio.numerator + 2 * _reach(ratio))
