"""Hear a file out: what only decoding all of it tells."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from cmi_bench.audio import soundfile_reader
from cmi_bench.audio.read import read_audio

BLOCK = 1 << 18
"""Samples per channel held at a time: a long piece in several processes shall not fill the memory."""


class Heard(NamedTuple):
    """What is in a file."""

    seconds: float
    """How much of it could be decoded."""
    peak: float
    """Largest absolute sample, 1 being full scale; NaN where a sample is no number."""


def listen(path: Path) -> Heard:
    """Decode all of a file.

    Raises:
        AudioError: It is missing, damaged, or of no format that is known here.
    """
    try:
        with soundfile_reader.open_audio(path) as file:
            heard, peak = 0, 0.0
            # Not `file.blocks`, which gives as much as the header promises, whatever the file holds.
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                heard, peak = heard + len(block), max_abs(block, peak)
            return Heard(heard / file.samplerate, peak)
    except soundfile.LibsndfileError:
        # Of no format of libsndfile's, or damaged: the reader knows what can be had of it.
        samples = read_audio(path)
        return Heard(len(samples.values) / samples.sr, max_abs(samples.values, 0.0))


def max_abs(values: npt.NDArray[np.float32], floor: float) -> float:
    """Return the largest absolute value, at least `floor`; NaN where there is one."""
    # Two passes cost less than an array of absolute values.
    return float(np.maximum(np.maximum(values.max(initial=0.0), -values.min(initial=0.0)), floor))
