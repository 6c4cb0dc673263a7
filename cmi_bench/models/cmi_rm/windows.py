"""What CMI-RM takes of a clip: chunks that are encoded by themselves, and windows of them that are scored together."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cmi_bench.audio.decode import AudioError
from cmi_bench.models.embedding import load_waveform
from cmi_bench.models.muq.mel import MIN_SAMPLES

Mode = Literal["final", "standard"]

CHUNK_SECONDS = 30.0
"""Longest piece that goes through the audio tower in mode "final", as in training."""
MIN_WINDOW_SECONDS = 1.0
"""Windows after the first that are shorter are passed over."""

Window = list[Tensor]
"""What is scored together: consecutive chunks, each a waveform [samples] encoded by itself."""


def split(waveform: Tensor, sr: int) -> Window:
    """Cut a waveform [samples] into chunks of 30 s, the last one as short as it comes.

    A last chunk that is too short for the spectrogram is dropped.
    """
    chunks = torch.split(waveform, int(CHUNK_SECONDS * sr))
    return [chunk for chunk in chunks if len(chunk) >= MIN_SAMPLES]


def windows_of(waveform: Tensor, sr: int, max_dur: float, *, mode: Mode, dur_step: float | None) -> list[Window]:
    """Cut a clip into what is scored.

    Mode "final": one window, the first `max_dur` seconds in chunks of 30 s. Mode "standard": windows of
    `max_dur` seconds every `dur_step` seconds (only the first without a step), each one chunk.

    Args:
        waveform: [samples] at `sr` Hz; in mode "standard" with a step, all of the clip.
        sr: Sampling rate, Hz.
        max_dur: Seconds.
        mode: See above.
        dur_step: Seconds from a window's start to the next one's, for mode "standard".

    Returns:
        The windows, none of them empty; no window where the clip is too short.
    """
    size = int(max_dur * sr)
    if mode == "final":
        windows = [split(waveform[:size], sr)]
    else:
        windows = [[window] for window in _sliding(waveform, sr, size, dur_step) if len(window) >= MIN_SAMPLES]
    return [window for window in windows if window]


def _sliding(waveform: Tensor, sr: int, size: int, dur_step: float | None) -> list[Tensor]:
    if dur_step is None or len(waveform) <= size:
        return [waveform[:size]]
    # The last window is the first one that reaches the clip's end.
    step = max(int(dur_step * sr), 1)
    last = -(-(len(waveform) - size) // step)
    windows = [waveform[index * step :][:size] for index in range(last + 1)]
    return [windows[0], *(window for window in windows[1:] if len(window) >= MIN_WINDOW_SECONDS * sr)]


def too_short(samples: int, sr: int, name: str = "The audio") -> AudioError:
    """Return the error for audio that is too short to encode."""
    return AudioError(
        f"{name} is too short: {samples} samples at {sr} Hz; CMI-RM needs {MIN_SAMPLES}.",
        "Leave the clip out, or raise max_dur.",
    )


def load_checked_waveform(
    audio: str | Path | Tensor, name: str, *, sr: int, seconds: float | None, max_dur: float
) -> Tensor:
    """Return a clip's waveform float32 [samples] on the CPU.

    Args:
        audio: A path, or a mono waveform at `sr` Hz.
        name: Its name in messages.
        sr: Sampling rate, Hz.
        seconds: How much is decoded of a file; None for all.
        max_dur: Seconds of the clip that are used; they must hold enough samples.

    Raises:
        AudioError: It cannot be decoded, is too short, or is no mono waveform; the message names it.
    """
    waveform = load_waveform(audio, name, sr=sr, seconds=seconds)
    samples = min(len(waveform), int(max_dur * sr))
    if samples < MIN_SAMPLES:
        raise too_short(samples, sr, name)
    return waveform
