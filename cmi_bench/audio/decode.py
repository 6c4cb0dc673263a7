"""Decode the part of an audio file that is needed, as a mono waveform at a model's sampling rate."""

import math
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torchaudio.transforms import Resample

from cmi_bench.audio.readers import AudioError, DecodedAudio, Start, read_audio

__all__ = ["AudioError", "decode", "resample", "to_mono"]

RESAMPLER_CONTEXT = 4096
"""Source samples read past the crop, so that the resampler's filter sees what it would see in the whole file."""


@lru_cache(maxsize=32)
def _resampler(source_sr: int, sr: int, device: str) -> Resample:
    return Resample(source_sr, sr).to(device)


MAX_FILTER = 1 << 22
"""Coefficients of a resampler, which has a filter for each of `sr / gcd` phases. Usual pairs of rates need some
thousands; 44,101 to 24,000 Hz would need a thousand million."""
_WIDTH, _ROLLOFF = 6, 0.99
"""Of torchaudio's default filter: zero crossings on each side, and the cutoff as a share of the Nyquist frequency."""


def resample(waveform: Tensor, source_sr: int, sr: int) -> Tensor:
    """Resample with torchaudio's default windowed sinc.

    Two rates with a small common divisor (one of them is odd) are resampled by the nearest ratio of smaller numbers,
    whose filters stay within `MAX_FILTER`; it differs by less than 1 in 10,000, which nobody hears.

    Args:
        waveform: [..., samples] at `source_sr` Hz, on any device.
        source_sr: Sampling rate of the waveform, Hz.
        sr: Sampling rate wanted, Hz.

    Returns:
        [..., ceil(samples * sr / source_sr)], of odd rates by the nearest ratio.
    """
    if source_sr == sr:
        return waveform
    ratio = small_ratio(source_sr, sr)
    resampled: Tensor = _resampler(ratio.numerator, ratio.denominator, str(waveform.device))(waveform)
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


def decode(path: str | Path, sr: int, max_dur: float | None = None) -> Tensor:
    """Read a file as a model hears it: mean of the channels, resampled, cropped.

    The result equals decoding the whole file, resampling and then cropping; only the needed part is read.

    Args:
        path: WAV, FLAC, OGG or MP3 file (whatever libsndfile reads), or whatever FFmpeg reads.
        sr: Sampling rate wanted, Hz.
        max_dur: Seconds kept from the start; None keeps all.

    Returns:
        float32 [samples], at most `int(max_dur * sr)` of them. Full scale is 1; nothing is clipped, so that what
        is louder in the file (or becomes so by MP3 or by resampling) is louder here.

    Raises:
        AudioError: The file is missing, no regular file, unreadable, or holds no samples, or some that are no numbers.
    """
    start = Start(max_dur, context=RESAMPLER_CONTEXT)
    return to_mono(read_audio(Path(path), start, mono=True), sr, max_dur, name=str(path))


def to_mono(samples: DecodedAudio, sr: int, max_dur: float | None = None, *, name: str) -> Tensor:
    """Return decoded audio as a model hears it; see `decode`.

    Args:
        samples: At least `Start(max_dur, context=RESAMPLER_CONTEXT)` of it, where there is so much.
        sr: Sampling rate wanted, Hz.
        max_dur: Seconds kept from the start; None keeps all.
        name: What to call it in messages.

    Raises:
        AudioError: It holds samples that are no numbers.
    """
    waveform = resample(torch.from_numpy(samples.mono()), samples.sr, sr)
    if not torch.isfinite(waveform).all():
        raise AudioError(f"{name} holds samples that are no numbers (NaN or infinite).", "Get or make it again.")
    return waveform if max_dur is None else waveform[: int(max_dur * sr)]
