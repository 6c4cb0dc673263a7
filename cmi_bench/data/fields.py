"""The border between the JSONL files and the code: the names of fields, and how labels are spelled.

The names are those of the public CMI-RewardBench files; other tools read them, so they stay as they
are in the files whatever the code calls the same thing.
"""

import math
from enum import StrEnum
from typing import Any

from cmi_bench.types import Aspect

SOURCE = "source"
SPLIT = "split"
AUDIO_A = "audio-path"
AUDIO_B = "audio2"
REF_AUDIO = "ref-audio-path"
PROMPT = "prompt"
LYRICS = "lyrics"
MODALITY = "modality"
SYSTEM_A = "model_a"
"""Which system made clip A, or the only clip; also a value of preferences."""
SYSTEM_B = "model_b"

MUSICALITY_MOS = "musicality"
ALIGNMENT_MOS = "text-music alignment"
PREFERENCE = "preference"
PREFERENCE_MUSICALITY = "preference-musicality"
PREFERENCE_ALIGNMENT = "preference-alignment"
CONFIDENCE_MUSICALITY = "confidence_preference-musicality"
CONFIDENCE_ALIGNMENT = "confidence_preference-alignment"
CONFIDENCE_RANGE = (1.0, 5.0)

DECLARED = "own_dataset"
"""The declaration of the dataset of one's own that a row belongs to; see `data.declarations`."""
RATINGS = "ratings"
"""What each rater said, by label field: {"musicality": {"anna": 4.0}}, or a list where nobody is named."""

BENCHMARK_DATASET = "benchmark_dataset"
ORIGINAL_NAME = "original_name"
"""What clip A's file was called where `task=prepare` got it from, which may name its system and its prompt."""
PREDICTED_MUSICALITY = "predicted_musicality"
PREDICTED_ALIGNMENT = "predicted_text-music alignment"
SIDE_B = "_b"
"""Suffix of the predicted scores of a pair's second clip."""
SCORE_FIELD = {Aspect.MUSICALITY: PREDICTED_MUSICALITY, Aspect.ALIGNMENT: PREDICTED_ALIGNMENT}
"""Where a results row keeps clip A's score (clip B's: with `SIDE_B` appended)."""
MEMBERS = "_members"
"""Suffix, before `SIDE_B`, of the scores that an ensemble's members give, a list; only in rows of an ensemble."""
SPREAD = "_spread"
"""Suffix, before `SIDE_B`, of the standard deviation over an ensemble's members; only in rows of an ensemble."""
PREDICTED_PREFERENCE = "predicted_preference"
PREDICTED_PREFERENCE_MUSICALITY = "predicted_preference-musicality"
PREDICTED_PREFERENCE_ALIGNMENT = "predicted_preference-alignment"
VALID_A = "inference_valid_a"
VALID_B = "inference_valid_b"
INFERENCE_ERROR = "inference_error"

OUTPUT_PREFIXES = ("predicted_", "inference_")


def is_own(field: str) -> bool:
    """Tell a row's own fields from those that a run adds to it."""
    return field not in (BENCHMARK_DATASET, ORIGINAL_NAME, DECLARED) and not field.startswith(OUTPUT_PREFIXES)


def share_field(label_field: str) -> str:
    """Return where a pair of one's own keeps the share of its raters who gave the most frequent answer, 0 to 1."""
    return f"{label_field} share"


def confidence_field(label_field: str) -> str:
    """Return where a pair keeps how sure its annotator was, 1 to 5."""
    return f"confidence_{label_field}"


Scale = tuple[float, float]
"""The lowest and the highest rating that there can be."""
MOS_RANGE: Scale = (1.0, 5.0)


class LabelError(ValueError):
    """A label that is there but not understood."""


class Preference(StrEnum):
    """Which clip of a pair was preferred; the values are the public files' spelling."""

    A = "model_a"
    B = "model_b"
    BOTH = "both"


_SPELLINGS = {
    "a": Preference.A,
    "model_a": Preference.A,
    "b": Preference.B,
    "model_b": Preference.B,
    "both": Preference.BOTH,
    "neither": Preference.BOTH,
    "tie": Preference.BOTH,
    "both_bad": Preference.BOTH,
}


MAX_SHOWN = 80
"""Characters of a value in a message."""


def shown(value: Any) -> str:
    """Return a value for a message, cut where it is long.

    >>> shown("model_c")
    "'model_c'"
    """
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"


def is_missing(value: Any) -> bool:
    """Tell whether a field is empty: absent, null, NaN, or blank text."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def parse_preference(value: Any) -> Preference | None:
    """Read a preference label in any spelling of the public files.

    Returns:
        The preference, or None where there is no label.

    Raises:
        LabelError: The value is none of the known spellings.
    """
    if is_missing(value):
        return None
    try:
        return _SPELLINGS[str(value).strip().lower()]
    except KeyError:
        raise LabelError(f"{shown(value)} is not a preference (known: {', '.join(_SPELLINGS)}, in any case)") from None


BOTH_BAD = "both_bad"
"""How a label says that neither clip is any good, which the benchmark counts as `Preference.BOTH`."""
_BOTH_BAD = frozenset({BOTH_BAD, "neither"})


def is_both_bad(value: Any) -> bool:
    """Tell a label that finds both clips bad from other ties, which `parse_preference` does not tell apart.

    >>> is_both_bad("BOTH_BAD"), is_both_bad("tie")
    (True, False)
    """
    return str(value).strip().lower() in _BOTH_BAD


def parse_mos(value: Any, scale: Scale | None = MOS_RANGE) -> float | None:
    """Read a mean opinion score.

    Args:
        value: A number or its text.
        scale: What it can be; None for any finite number.

    Returns:
        The score, or None where there is no label.

    Raises:
        LabelError: Not a number, or outside of the scale.
    """
    if is_missing(value):
        return None
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score) and (scale is None or math.isnan(score)):
        raise LabelError(f"{shown(value)} is not a number")
    low, high = scale or (score, score)
    if not low <= score <= high:
        raise LabelError(f"{shown(value)} is not a mean opinion score (expected {low:g} to {high:g})")
    return score
