"""Random streams that depend on stable numbers only, never on order, process or time."""

import numpy as np

SEED = 20250701
"""Root of every stream. Changing it makes another benchmark: raise `MINI_VERSION` with it."""


def stream(*ids: int) -> np.random.Generator:
    """Return the generator that belongs to these ids (dataset, prompt, clip, purpose, ...)."""
    # The length is part of the seed, because trailing zeros alone would not make another stream.
    return np.random.default_rng([SEED, len(ids), *ids])
