"""What a model said of a clip of the run."""

import math
from typing import NamedTuple


class ClipScore(NamedTuple):
    """What a model said of one clip, or why it said nothing."""

    clip_id: str
    alignment: float
    """NaN where the model does not judge alignment, or failed."""
    musicality: float
    """NaN where the model does not judge musicality, or failed."""
    error: str = ""
    """Why there is no score; empty where there is one."""


def failed(clip_id: str, error: str) -> ClipScore:
    """Record a clip that could not be scored."""
    return ClipScore(clip_id, math.nan, math.nan, error)
