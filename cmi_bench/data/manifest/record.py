"""One line of the manifest: what is known of an audio file."""

import math
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class AudioRecord:
    """One audio file; the fields are the manifest's columns."""

    path: str
    """Relative to the data root, with forward slashes."""
    bytes: int
    mtime_ns: int
    """When the file was last written; with `bytes` it tells whether the record still holds."""
    sha256: str
    """Of the file's bytes, hexadecimal."""
    seconds: float | None = None
    """By the headers, put right where the file's frames say otherwise. This and what follows to `is_cut`: None
    where the file is of no known format."""
    sample_rate: int | None = None
    """Hz."""
    channels: int | None = None
    container: str | None = None
    codec: str | None = None
    decoder: str | None = None
    """The library that decodes it: "soundfile" or "torchcodec"."""
    is_cut: bool | None = None
    """Whether its own headers promise more than there is."""
    heard_seconds: float | None = None
    """How much could be decoded; None where that was not tried (only `task=prepare` and `task=doctor` do)."""
    peak: float | None = None
    """Largest absolute sample, 1 being full scale; NaN where a sample is no number; None as for `heard_seconds`."""
    error: str | None = None
    """Why the file cannot be decoded."""

    def describes(self, stat: os.stat_result) -> bool:
        """Tell whether a file's size and time are those of the record."""
        return (self.bytes, self.mtime_ns) == (stat.st_size, stat.st_mtime_ns)

    @property
    def was_heard(self) -> bool:
        """Whether all of the file was decoded, or tried to be."""
        return self.peak is not None or self.error is not None

    @property
    def is_silent(self) -> bool:
        """Whether every sample is zero, or below what 16 bits can hold."""
        return self.peak is not None and self.peak < SILENCE

    @property
    def has_bad_samples(self) -> bool:
        """Whether a sample is no number."""
        return self.peak is not None and math.isnan(self.peak)


SILENCE = 2**-15
"""The smallest step of 16-bit audio."""
