"""Degraded clips with a score, as `measure_robustness` takes them."""

from pathlib import Path

from cmi_bench.data.synthetic.degradation_set import DegradedClip, Step
from cmi_bench.types import Clip, Score


def degraded(kind, label, severity, piece, score):
    """A clip that both aspects give `score`."""
    clip = Clip(f"{kind}-{severity}-{piece}:a", Path(f"{kind}-{severity}-{piece}.wav"))
    return DegradedClip(Step(kind, label, severity), piece, clip), Score(score, score)
