"""The rows' words and labels: instructions as a person would type them, and labels as people would give them.

Labels follow from how much a clip is damaged and how well it fits its prompt.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from cmi_bench.data.synthetic.composition import TONICS, Mode, Style
from cmi_bench.data.synthetic.degradation import ClipPlan
from cmi_bench.data.synthetic.instruments import VOICE


class Part(NamedTuple):
    """One dataset of the mini benchmark."""

    rows: list[dict[str, Any]]
    """In the row format of the public `all_test.jsonl`."""
    clips: list[ClipPlan]
    """Each file the rows name, once."""


PAM_ID, MUSIC_EVAL_ID, MUSIC_ARENA_ID, CMI_PREF_ID = 1, 2, 3, 4
"""First ids of the datasets' random streams."""
WISH, LABELS, FAULTS, AUDIO = 0, 1, 2, 3
"""Second ids: what a dataset draws its wishes, labels, faults and audio from."""


_MOODS = {
    (True, Mode.MAJOR): "upbeat, happy",
    (True, Mode.MINOR): "driving, dark",
    (False, Mode.MAJOR): "calm, warm",
    (False, Mode.MINOR): "sad, gentle",
}
_IMAGES = ("the harbour", "a paper boat", "the last train", "winter light", "an open window", "the long road")
_ACTS = ("I wait by", "I sing to", "you left", "we dance around", "I dream of", "nobody knows")
_CLOSES = ("until the morning", "and the rain goes on", "with nothing to lose", "while the city sleeps")


def write_prompt(style: Style, rng: np.random.Generator) -> str:
    """Describe a style in one of several ways; each names tempo, mode or mood, lead and drums."""
    pace = "fast" if style.is_fast else "slow"
    lead = "a singing voice" if style.lead == VOICE else style.lead
    drums = "with drums" if style.drums else "no drums"
    mood = _MOODS[style.is_fast, style.mode]
    tone = "bright" if style.is_bright else "soft"
    key = f"{TONICS[style.tonic]} {style.mode}"
    return str(
        rng.choice(
            (
                f"A {pace} {style.genre} piece in {key} at {style.tempo} BPM, led by {lead}, {drums}.",
                f"{style.genre}, {mood}, {tone} {lead} melody, {style.mode} key, {pace} tempo, {drums}",
                f"Please make {mood} {style.genre} music for my video: {lead}, {drums}, {style.tempo} bpm.",
                f"{mood.capitalize()} {style.genre} tune, {key}, {lead} in front, {drums}, around {style.tempo} bpm",
            )
        )
    )


def write_reference_prompt(style: Style, rng: np.random.Generator) -> str:
    """Ask for a piece like a reference, and say little else."""
    return str(
        rng.choice(
            (
                f"Make {style.genre} music that sounds like the reference.",
                f"Same key, tempo and instruments as the attached audio, {style.genre}.",
                f"Continue in the style of this recording, a little {style.genre}.",
            )
        )
    )


def write_lyrics(rng: np.random.Generator) -> str:
    """Write four lines to sing."""
    lines = [f"{rng.choice(_ACTS)} {rng.choice(_IMAGES)}" for _ in range(3)]
    return "\n".join([*lines, str(rng.choice(_CLOSES))])


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
