"""How clips are scored, whatever the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ScoreSettings:
    """What a run decides about scoring."""

    max_dur: float
    """Seconds of a clip that are looked at, from its start."""
    score_kwargs: Mapping[str, Any]
    """Passed on to the model's `score_batch`."""
    cache_dir: Path | None
    """Where embeddings and scores are kept from run to run; None keeps them for this run only."""
    resume: bool
    """Whether scores that are stored already are used."""
    stop_on_failure: bool
    """A clip that cannot be scored ends the run; otherwise it is recorded and passed over."""
