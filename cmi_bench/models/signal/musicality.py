"""Musicality as the absence of audible faults: a fixed weighted sum of seven merits.

Neither the ranges nor the weights were fitted to labels of any data set. The ranges go from what is plainly broken
to what produced recordings and clean synthesis show; the weights say that faults of the sound are heard by
everyone, faults of playing by most, and that statistics of key and pulse are the least sure.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cmi_bench.models.signal.properties import Properties


class Merit(NamedTuple):
    """One measured property, turned into a merit from 0 to 1."""

    name: str
    measure: Callable[[Properties], float]
    worst: float
    """Value of the property with merit 0; in between, the merit is linear."""
    best: float
    """Value with merit 1."""
    weight: float


MERITS = (
    Merit("little noise between the partials", lambda p: p.spectral.noise_floor, -10.0, -45.0, 0.20),
    Merit("highs are there", lambda p: p.spectral.highs, -50.0, -20.0, 0.15),
    Merit("no flat tops", lambda p: p.waveform.flat_tops, 0.25, 0.0, 0.15),
    Merit("no gaps", lambda p: p.waveform.gaps, 2.5, 0.0, 0.15),
    Merit("in tune", lambda p: p.tonal.tuning, 0.1, 0.8, 0.15),
    Merit("in a key", lambda p: p.tonal.key_clarity, 0.4, 0.8, 0.10),
    Merit("with a pulse", lambda p: p.rhythm.pulse, 0.1, 0.7, 0.10),
)


def musicality(properties: Properties) -> float:
    """Return a clip's musicality from 0 to 1."""
    return float(sum(merit.weight * _merit(merit, properties) for merit in MERITS))


def _merit(merit: Merit, properties: Properties) -> float:
    return float(np.clip((merit.measure(properties) - merit.worst) / (merit.best - merit.worst), 0.0, 1.0))
