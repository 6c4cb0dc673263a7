"""Instructions in words: what a person would type to get a piece of a given style."""

import numpy as np

from cmi_bench.data.mini.styles import TONICS, Mode, Style
from cmi_bench.data.mini.timbres import VOICE

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
