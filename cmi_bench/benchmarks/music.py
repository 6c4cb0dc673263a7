"""Something to measure with that no codec and no encoder finds easier than music."""

import numpy as np
import numpy.typing as npt

SR = 44100
"""Hz."""
PERIOD = 10.0
"""Seconds after which it repeats."""


def music(seconds: float, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return stereo chords with a beat of noise, float32 [samples, 2] at `SR`; another piece for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(PERIOD * SR)) / SR
    partials = rng.uniform(60, 300) * np.array([1, 1.25, 1.5, 2, 3, 4])[:, None]
    chords = (rng.uniform(0.1, 1, (len(partials), 1)) * np.sin(2 * np.pi * partials * time)).sum(axis=0)
    beat = np.exp(-((time * rng.uniform(1, 4)) % 1) * rng.uniform(2, 16))[:, None]
    noise = rng.standard_normal((len(time), 2))
    piece = rng.uniform(0.02, 0.15) * chords[:, None] + rng.uniform(0.02, 0.25) * beat * noise
    return np.tile(piece, (int(np.ceil(seconds / PERIOD)), 1))[: int(seconds * SR)].astype(np.float32)
