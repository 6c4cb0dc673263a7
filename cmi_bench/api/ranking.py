"""Best of N: songs in the order of a score, or of a weighted mean of both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.types import Aspect, Score, standard_deviation

if TYPE_CHECKING:
    from cmi_bench.api.songs import Song


class By(StrEnum):
    """What songs are ranked by."""

    MUSICALITY = "musicality"
    ALIGNMENT = "alignment"
    MEAN = "mean"


@dataclass(frozen=True)
class Criterion:
    """What songs are ranked by, checked."""

    by: By
    weight: float = 0.5
    """Of musicality in the mean, 0 to 1; alignment has the rest. The scores are taken as the model gives them."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise UserError(f"weight={self.weight:g} is not between 0 and 1.", "It is musicality's share of the mean.")

    @property
    def description(self) -> str:
        """What decides, for people."""
        return f"{self.weight:g} musicality + {1 - self.weight:g} alignment" if self.by is By.MEAN else self.by.value

    def value(self, score: Score) -> float:
        """Return what a song is ranked by; NaN where the model has not judged it."""
        if self.by is By.MEAN:
            return self.weight * score.musicality + (1 - self.weight) * score.alignment
        return score.value(Aspect(self.by))

    def spread(self, score: Score) -> float:
        """Return the standard deviation of that value over the members of an ensemble; NaN of other models."""
        return standard_deviation([self.value(Score(*member)) for member in score.members])

    def check(self, scores: Sequence[Score], model: str) -> None:
        """Make sure that the model judges what is asked for.

        Raises:
            UserError: It has scored songs, and none of them in this respect.
        """
        valid = [score for score in scores if not score.error]
        if not valid or any(not math.isnan(self.value(score)) for score in valid):
            return
        judged = [by for by in (By.MUSICALITY, By.ALIGNMENT) if not math.isnan(Criterion(by).value(valid[0]))]
        lacking = [by for by in (By.MUSICALITY, By.ALIGNMENT) if by not in judged]
        hint = f"Rank by {judged[0]}." if judged else "Choose a model that does."
        raise UserError(f"{model} does not judge {' or '.join(lacking)}: songs cannot be ranked by {self.by}.", hint)


@dataclass(frozen=True)
class Place:
    """A song's place in a ranking."""

    rank: int
    """From 1; songs with equal values share theirs, and the next one counts them all (1, 2, 2, 4)."""
    index: int
    """Of the song in what was ranked, from 0."""
    value: float


@dataclass(frozen=True)
class RankedSong:
    """A song in a ranking, with its scores."""

    rank: int
    """From 1; songs with equal values share theirs, and the next one counts them all (1, 2, 2, 4)."""
    index: int
    """Of the song in the list that was given, from 0."""
    song: "Song"
    value: float
    """What it was ranked by."""
    alignment: float
    musicality: float
    spread: float = math.nan
    """Standard deviation of `value` over the members of an ensemble; NaN of other models."""


def criterion(by: str, weight: float) -> Criterion:
    """Return what is to be ranked by.

    Raises:
        UserError: There is no such thing to rank by, or the weight is not between 0 and 1.
    """
    try:
        return Criterion(By(by), weight)
    except ValueError:
        raise UserError(f"Songs cannot be ranked by {by!r}.", did_you_mean(by, By)) from None


def places(values: Sequence[float], top_k: int | None = None) -> list[Place]:
    """Rank values, the highest first; equal ones stay in the order given, NaN has no place.

    Args:
        values: What to rank by.
        top_k: How many of the best; of equal ones at the end, the first given. None ranks all.

    Raises:
        UserError: `top_k` is not above 0.

    >>> places([0.3, 0.9, float("nan"), 0.3], top_k=2)
    [Place(rank=1, index=1, value=0.9), Place(rank=2, index=0, value=0.3)]
    """
    if top_k is not None and top_k <= 0:
        raise UserError(f"top_k={top_k} is not positive.", "It says how many of the best songs are wanted.")
    order = sorted(
        (index for index, value in enumerate(values) if not math.isnan(value)), key=lambda index: -values[index]
    )
    best: list[Place] = []
    for position, index in enumerate(order[:top_k], start=1):
        tied = bool(best) and best[-1].value == values[index]
        best.append(Place(best[-1].rank if tied else position, index, values[index]))
    return best


def ranked(
    songs: "Sequence[Song]", scores: Sequence[Score], spreads: Sequence[float], rule: Criterion, top_k: int | None
) -> list[RankedSong]:
    """Return songs with their scores, the best first; one without a score is left out.

    Args:
        songs: What was scored.
        scores: Theirs.
        spreads: The standard deviation of what each is ranked by, over the members of an ensemble.
        rule: What they are ranked by.
        top_k: As of `places`, also for what is raised.
    """
    return [
        RankedSong(
            place.rank,
            place.index,
            songs[place.index],
            place.value,
            *scores[place.index].columns,
            spread=spreads[place.index],
        )
        for place in places([rule.value(score) for score in scores], top_k)
    ]
