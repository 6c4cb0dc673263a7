"""Decode the part of an audio file that is needed, as a mono waveform at a model's sampling rate."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cmi_bench.audio.readers import AudioError, DecodedAudio, Start, read_audio
from cmi_bench.audio.resample import resample

__all__ = ["AudioError", "AudioForm", "decode", "decode_forms", "is_finite", "to_mono"]

RESAMPLER_CONTEXT = 4096
"""Source samples read past the crop, so that the resampler's filter sees what it would see in the whole file."""


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


class AudioForm(NamedTuple):
    """How a model takes audio."""

    sr: int
    """Hz."""
    seconds: float | None
    """Kept from the start; None keeps all."""


def decode_forms(path: str | Path, forms: Iterable[AudioForm]) -> dict[AudioForm, Tensor | AudioError]:
    """Read a file once for several models.

    Args:
        path: The file.
        forms: How the models take audio.

    Returns:
        For each form what `decode` returns, or raises: a file may be damaged behind what one of them needs.
    """
    wanted = list(dict.fromkeys(forms))
    samples = None
    if len(wanted) > 1:
        longest = None if any(form.seconds is None for form in wanted) else max(form.seconds or 0.0 for form in wanted)
        try:
            samples = read_audio(Path(path), Start(longest, RESAMPLER_CONTEXT), mono=True)
        except AudioError:  # each form for itself: then it is as if the others were not there
            samples = None

    def decoded(form: AudioForm) -> Tensor | AudioError:
        try:
            if samples is None:
                return decode(path, *form)
            needed = Start(form.seconds, RESAMPLER_CONTEXT).samples(samples.sr)
            return to_mono(samples._replace(values=samples.values[:needed]), *form, name=str(path))
        except AudioError as error:
            return error

    return {form: decoded(form) for form in wanted}


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
    if not is_finite(waveform):
        raise AudioError(f"{name} holds samples that are no numbers (NaN or infinite).", "Get or make it again.")
    return waveform if max_dur is None else waveform[: int(max_dur * sr)]


def is_finite(tensor: Tensor) -> bool:
    """Tell whether a tensor holds neither NaN nor infinity; `isfinite` takes 15 times as long on the CPU."""
    return not tensor.numel() or all(bool(bound.isfinite()) for bound in tensor.aminmax())
