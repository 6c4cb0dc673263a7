"""Audio as a file holds it."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Samples(NamedTuple):
    """Decoded audio, before anything is done to it."""

    values: npt.NDArray[np.float32]
    """[samples, channels]; full scale is 1, and what was louder stays louder."""
    sr: int
    """Hz."""
    decoder: str
    """Which library decoded it: "soundfile" or "torchcodec"."""

    def mono(self) -> npt.NDArray[np.float32]:
        """Return the mean of the channels: [samples]."""
        # Channel by channel: over so short an axis torch's own mean takes 6 times as long, NumPy's 18 times.
        total = self.values[:, 0].copy()
        for channel in range(1, self.values.shape[1]):
            total += self.values[:, channel]
        total /= self.values.shape[1]
        return total


class Start(NamedTuple):
    """How much of a file is wanted, from its start."""

    seconds: float | None
    """None: all of it."""
    context: int = 0
    """Samples per channel beyond that."""

    def samples(self, sr: int) -> int | None:
        """Return the number of samples per channel at `sr` Hz, None for all."""
        return None if self.seconds is None else math.ceil(self.seconds * sr) + self.context


ALL = Start(seconds=None)
