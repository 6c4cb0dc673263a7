"""One label of what several raters said: the mean of ratings, the majority of votes."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from cmi_bench.data.fields import Preference


class Majority(NamedTuple):
    """What most raters of a pair said."""

    winner: Preference
    """The most frequent answer; `BOTH` where two answers are equally frequent."""
    share: float
    """Of the raters, how many gave the most frequent answer; above 0, up to 1."""


def majority(votes: Sequence[Preference]) -> Majority:
    """Return the majority of one or more votes.

    >>> majority([Preference.A, Preference.A, Preference.B]).winner.value
    'model_a'
    >>> majority([Preference.A, Preference.B])
    Majority(winner=<Preference.BOTH: 'both'>, share=0.5)
    """
    (first, count), *others = Counter(votes).most_common()
    is_tied = bool(others) and others[0][1] == count
    return Majority(Preference.BOTH if is_tied else first, count / len(votes))


def mean_rating(ratings: Sequence[float]) -> float:
    """Return the mean of one or more ratings: the mean opinion score.

    >>> mean_rating([4.0, 5.0])
    4.5
    """
    return fmean(ratings)
