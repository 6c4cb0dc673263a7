"""Labels as people would give them, from how spoilt a clip is and how well it fits its prompt."""

from enum import StrEnum

import numpy as np

RATER_BIAS = 0.3
RATER_NOISE = 0.5
"""Standard deviations, in points of the five-point scale, of a rater's habit and of each vote."""
TIE_MARGIN = 0.04
"""Two clips nearer than this (on the scale from 0 to 1) are not told apart."""
BOTH_BAD_BELOW = 0.35
EMPTY_CONFIDENCE = 0.1
"""Share of annotators who leave the field empty."""


class Verdict(StrEnum):
    """Which of two clips is better; ties apart by whether both are good."""

    A = "A"
    B = "B"
    TIE = "TIE"
    BOTH_BAD = "BOTH_BAD"


def mean_opinion(merit: float, raters: int, rng: np.random.Generator) -> float:
    """Return a mean opinion score.

    Args:
        merit: 0 (worst) to 1 (best).
        raters: How many people vote; each votes a whole number from 1 to 5.
        rng: Their habits and moods.

    Returns:
        1 to 5, in steps of 1 / raters.
    """
    spread = RATER_BIAS * rng.standard_normal(raters) + RATER_NOISE * rng.standard_normal(raters)
    votes = np.clip(np.rint(1 + 4 * merit + spread), 1, 5)
    return round(float(votes.mean()), 2)


def compare(merit_a: float, merit_b: float) -> Verdict:
    """Return the better clip. Without noise: a clip that wins here wins everywhere against the same rival."""
    if abs(merit_a - merit_b) >= TIE_MARGIN:
        return Verdict.A if merit_a > merit_b else Verdict.B
    return Verdict.BOTH_BAD if max(merit_a, merit_b) < BOTH_BAD_BELOW else Verdict.TIE


def confidence(merit_a: float, merit_b: float, rng: np.random.Generator) -> str:
    """Return how sure the annotator is: "1" to "5" in half steps, surer the larger the difference, sometimes ""."""
    if rng.random() < EMPTY_CONFIDENCE:
        return ""
    certainty = 1.5 + 5 * abs(merit_a - merit_b) + 0.6 * rng.standard_normal()
    return f"{np.clip(np.rint(2 * certainty) / 2, 1, 5):g}"
