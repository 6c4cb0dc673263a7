"""What people said: preferences between two clips, and mean opinion scores, as the files spell them."""

import math
from enum import StrEnum
from typing import Any

MOS_RANGE = (1.0, 5.0)


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
        raise LabelError(f"{value!r} is not a preference (known: {', '.join(_SPELLINGS)}, in any case)") from None


def parse_mos(value: Any) -> float | None:
    """Read a mean opinion score.

    Returns:
        The score, or None where there is no label.

    Raises:
        LabelError: Not a number, or outside 1 to 5.
    """
    if is_missing(value):
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise LabelError(f"{value!r} is not a number") from None
    low, high = MOS_RANGE
    if not low <= score <= high:
        raise LabelError(f"{value!r} is not a mean opinion score (expected {low:g} to {high:g})")
    return score
