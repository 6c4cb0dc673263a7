"""Resampling as torchaudio does it, in a third of the time on the CPU."""

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.transforms import Resample

MAX_FILTER = 1 << 22
"""Coefficients of a resampler, which has a filter for each of `sr / gcd` phases. Usual pairs of rates need some
thousands; 44,101 to 24,000 Hz would need a thousand million."""
_WIDTH, _ROLLOFF = 6, 0.99
"""Of torchaudio's default filter: zero crossings on each side, and the cutoff as a share of the Nyquist frequency."""
GROUP = 16
"""Phases that are computed by one product: with more, more coefficients are zeros; with fewer, products are slow."""
AT_ONCE = 16
"""Periods that are computed at a time, at least: of one alone the product would be rounded otherwise."""


def resample(waveform: Tensor, source_sr: int, sr: int) -> Tensor:
    """Resample with torchaudio's default windowed sinc.

    Two rates with a small common divisor (one of them is odd) are resampled by the nearest ratio of smaller numbers,
    whose filters stay within `MAX_FILTER`; it differs by less than 1 in 10,000, which nobody hears.

    Args:
        waveform: float32 [samples] at `source_sr` Hz, on any device.
        source_sr: Sampling rate of the waveform, Hz.
        sr: Sampling rate wanted, Hz.

    Returns:
        [ceil(samples * sr / source_sr)] but for a sample in long ones, of odd rates by the nearest ratio.
    """
    ratio = small_ratio(source_sr, sr)
    if ratio == 1:
        return waveform
    if waveform.is_cpu:
        return _resample_by_products(waveform, ratio)
    resampled: Tensor = _resampler(ratio, str(waveform.device))(waveform)
    return resampled


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
    source, target = ratio.numerator, ratio.denominator
    return target * (source + 2 * math.ceil(_WIDTH * source / (min(source, target) * _ROLLOFF)))


@lru_cache(maxsize=32)
def _resampler(ratio: Fraction, device: str) -> Resample:
    return Resample(ratio.numerator, ratio.denominator).to(device)


class _Group(NamedTuple):
    """The filters of phases that follow one another."""

    phase: int
    """The first of them."""
    start: int
    """The first sample of a period that any of the filters weighs."""
    filters: Tensor
    """[samples, phases]: of each sample from there on its weight."""


class _Filters(NamedTuple):
    """A resampler whose phases and samples come again with each period."""

    groups: tuple[_Group, ...]
    phases: int
    """Samples that come of a period."""
    stride: int
    """Samples of the source in a period."""
    lead: int
    """Samples that the first filter reaches back before the waveform."""

    @property
    def reach(self) -> int:
        """How many samples, from its start less the lead, a period's filters look at."""
        return max(self.stride, *(group.start + len(group.filters) for group in self.groups))


@lru_cache(maxsize=32)
def _filters(ratio: Fraction) -> _Filters:
    """Return torchaudio's filters in groups: each of the many has a few coefficients that are not zero.

    A period is as long as it takes for a group to look at fewer samples than lie between two periods: products then
    read the waveform where it is, whereas `unfold`, and convolutions, would copy it some times over.
    """
    source, target = ratio.numerator, ratio.denominator
    transform = _resampler(ratio, "cpu")
    kernel, lead = transform.kernel[:, 0], int(transform.width)
    looked_at = GROUP * source / target + 2 * lead + 1
    times = math.ceil(max(GROUP / target, looked_at / source))
    weights = kernel.new_zeros(times * target, 2 * lead + times * source)
    for time in range(times):
        place = time * source
        weights[time * target : (time + 1) * target, place : place + kernel.shape[1]] = kernel
    groups = []
    for phase in range(0, len(weights), GROUP):
        rows = weights[phase : phase + GROUP]
        weighed = rows.any(dim=0).nonzero()
        start, end = int(weighed[0]), int(weighed[-1]) + 1
        groups.append(_Group(phase, start, rows[:, start:end].T.contiguous()))
    return _Filters(tuple(groups), times * target, times * source, lead)


def _length(samples: int, ratio: Fraction) -> int:
    """Return how many samples torchaudio makes of some; it rounds their number to float32 before it rounds it up."""
    rounded = torch.tensor(ratio.denominator * samples / ratio.numerator, dtype=torch.float32)
    return min(math.ceil(rounded), ratio.denominator * (samples // ratio.numerator + 1))


def _resample_by_products(waveform: Tensor, ratio: Fraction) -> Tensor:
    """Return what torchaudio's convolution does, computed as a product of matrices for each group of phases."""
    filters = _filters(ratio)
    length = _length(len(waveform), ratio)
    resampled = waveform.new_empty(math.ceil(length / filters.phases), filters.phases)
    # Periods whose filters look beyond an end of the waveform see zeros there; the others need no copy of it.
    first = max(math.ceil(filters.lead / filters.stride), AT_ONCE)
    last = min((len(waveform) + filters.lead - filters.reach) // filters.stride + 1, len(resampled) - AT_ONCE)
    if first + AT_ONCE <= last:
        _weigh(waveform[first * filters.stride - filters.lead :], filters, resampled[first:last])
    else:
        first = last = 0
    for start, end in ((0, first), (last, len(resampled))):
        if start < end:
            begin = start * filters.stride - filters.lead
            stop = begin + (end - start - 1) * filters.stride + filters.reach
            inside = waveform[max(begin, 0) : max(stop, 0)]
            before = max(-begin, 0)
            padded = pad(inside, (before, stop - begin - before - len(inside)))
            _weigh(padded, filters, resampled[start:end])
    return resampled.view(-1)[:length]


def _weigh(samples: Tensor, filters: _Filters, resampled: Tensor) -> None:
    """Compute periods [periods, phases] from samples that begin where the first period's filters do."""
    for phase, start, weights in filters.groups:
        looked_at = samples.as_strided(
            (len(resampled), len(weights)), (filters.stride, 1), samples.storage_offset() + start
        )
        torch.mm(looked_at, weights, out=resampled[:, phase : phase + weights.shape[1]])
