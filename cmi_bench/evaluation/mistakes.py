"""The rows on which a model is most confidently wrong."""

from typing import NamedTuple

import numpy as np

# `scipy` loads `stats` when it is first used, so importing this module stays quick.
import scipy

from cmi_bench.evaluation.pairs import DecidedPairs
from cmi_bench.evaluation.samples import Samples


class Mistake(NamedTuple):
    """A row that the model gets wrong."""

    row: int
    """Row number, from 1."""
    gap: float
    """For a pair: the score of the clip that people preferred minus the other's, below 0. For a clip: its
    standing among the task's clips (0 lowest, 1 highest) by the model minus that by people."""


def worst_pairs(pairs: DecidedPairs, count: int) -> list[Mistake]:
    """Return up to `count` pairs on which the model prefers the other clip, the largest margin first."""
    lead = pairs.lead
    order = np.argsort(lead, kind="stable")[:count]
    return [Mistake(int(pairs.rows[at]), float(lead[at])) for at in order if lead[at] < 0]


def worst_clips(samples: Samples, count: int) -> list[Mistake]:
    """Return up to `count` clips whose standing by the model is farthest from that by people.

    Standings are mean ranks, because a model's scale is its own.
    """
    chosen = samples.take(samples.is_evaluated)
    if chosen.rows.size < 2:
        return []
    by_people, by_model = (
        (scipy.stats.rankdata(values) - 1.0) / (chosen.rows.size - 1.0) for values in (chosen.label, chosen.prediction)
    )
    gap = by_model - by_people
    order = np.argsort(-np.abs(gap), kind="stable")[:count]
    return [Mistake(int(chosen.rows[at]), float(gap[at])) for at in order if gap[at] != 0]
