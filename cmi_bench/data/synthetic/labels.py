"""The rows' words and labels: instructions as a person would type them, and labels as people would give them.

Labels follow from how much a clip is damaged and how well it fits its prompt.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from cmi_bench.data import fields
from cmi_bench.data.synthetic.composition import TONICS, Mode, Style
from cmi_bench.data.synthetic.degradation import ClipPlan
from cmi_bench.data.synthetic.instruments import VOICE, stream


class MiniSplit(StrEnum):
    """Which rows: those of the benchmark, or those to train on. They share no random stream, name or file."""

    TEST = "test"
    TRAIN = "train"

    def seed(self, dataset_id: int, *ids: int) -> tuple[int, ...]:
        """Return the ids of a random stream of this split: those of training are ids of datasets of its own."""
        return dataset_id + (TRAINING_IDS if self is MiniSplit.TRAIN else 0), *ids

    def stream(self, dataset_id: int, *ids: int) -> np.random.Generator:
        """Return a random stream of this split."""
        return stream(*self.seed(dataset_id, *ids))

    def named(self, number: int, digits: int) -> str:
        """Return the name of a prompt or clip: its number, from 0, or from 1000 where it is to train on."""
        return f"{number + (TRAINING_NUMBERS if self is MiniSplit.TRAIN else 0):0{digits}d}"


class Part(NamedTuple):
    """One dataset of the mini benchmark."""

    rows: list[dict[str, Any]]
    """In the row format of the public `all_test.jsonl`."""
    clips: list[ClipPlan]
    """Each file the rows name, once."""

    def with_left_out(self, *places: int) -> "Part":
        """Return the part with copies of some rows at its end that say they are for training: a run leaves them out."""
        copies = [{**self.rows[place], fields.SPLIT: "train"} for place in places]
        return Part([*self.rows, *copies], self.clips)


PAM_ID, MUSIC_EVAL_ID, MUSIC_ARENA_ID, CMI_PREF_ID = 1, 2, 3, 4
"""First ids of the datasets' random streams."""
TRAINING_IDS, TRAINING_NUMBERS = 100, 1000
"""Where the first ids of streams, and the numbers in names, of training rows begin."""
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
