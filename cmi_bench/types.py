"""The unit of scoring and its result: a clip with its instruction, and the two numbers that a model gives it.

Every package speaks of these types. What a package adds (a digest, a length, the file of requests a clip came from)
it keeps beside a `Clip`; a `Score` is looked up by a clip's id or by a content address.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Aspect(StrEnum):
    """The two things a reward model judges."""

    MUSICALITY = "musicality"
    ALIGNMENT = "alignment"


@dataclass(frozen=True)
class Clip:
    """An audio file to score, with the instruction it was made from."""

    clip_id: str
    """Unique among the clips that are scored together; of a row's clip `<line of the row>:<a or b>`."""
    audio: Path
    text: str = ""
    """The prompt; may be empty."""
    lyrics: str = ""
    """The lyrics asked for; may be empty."""
    ref_audio: Path | None = None
    """Reference audio, where there was one."""


class Score(NamedTuple):
    """A clip's two scores on the model's own scale, higher is better; or the reason why there are none."""

    alignment: float
    """How well the clip follows its instruction; NaN where the model does not judge that, or failed."""
    musicality: float
    """How good the clip is as music; NaN where the model does not judge that, or failed."""
    error: str = ""
    """Why there is no score; empty where there is one."""
    members: tuple[tuple[float, float], ...] = ()
    """Of an ensemble, each member's alignment and musicality, whose means the two scores are; else empty."""

    @classmethod
    def failed(cls, error: str) -> "Score":
        """Return the score of a clip that could not be scored."""
        return cls(math.nan, math.nan, error)

    def value(self, aspect: Aspect) -> float:
        """Return one of the two scores; NaN where there is none."""
        return self.musicality if aspect is Aspect.MUSICALITY else self.alignment

    def of_members(self, aspect: Aspect) -> tuple[float, ...]:
        """Return what each member of an ensemble gives; empty where the model is none."""
        return tuple(Score(*member).value(aspect) for member in self.members)

    def spread(self, aspect: Aspect) -> float:
        """Return the standard deviation of a score over an ensemble's members (n - 1 in the denominator).

        NaN where the model is no ensemble, or does not judge the aspect.

        >>> Score(0.5, 2.0, members=((0.5, 1.0), (0.5, 2.0), (0.5, 3.0))).spread(Aspect.MUSICALITY)
        1.0
        """
        return standard_deviation(self.of_members(aspect))

    @property
    def columns(self) -> tuple[float, float]:
        """Both scores, in the order of the columns of `score_batch`: alignment, musicality."""
        return self.alignment, self.musicality


def standard_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation with n - 1 in the denominator; NaN for fewer than two values."""
    if len(values) < 2:
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
