"""What a generation instruction consists of: text, and perhaps lyrics and reference audio."""

from collections.abc import Mapping
from typing import Any

from cmi_bench.data import fields
from cmi_bench.data.labels import is_missing

CONDITIONS = ("text", "text+lyrics", "text+ref", "text+lyrics+ref")
"""The four of CMI-Pref, as the public tables spell them."""


def condition_of(raw: Mapping[str, Any]) -> str:
    """Return the condition of a row as it stands in a file.

    Args:
        raw: The row's own fields; `lyrics` and `ref-audio-path` count where they are not empty.

    Returns:
        One of `CONDITIONS`, or what the field `modality` says where it is given.
    """
    given = raw.get(fields.MODALITY)
    if not is_missing(given):
        return str(given).strip()
    has_lyrics = not is_missing(raw.get(fields.LYRICS))
    has_ref = not is_missing(raw.get(fields.REF_AUDIO))
    return "text" + "+lyrics" * has_lyrics + "+ref" * has_ref


def has_lyrics(condition: str) -> bool | None:
    """Tell whether lyrics are part of a condition; None for a condition that is none of the four."""
    return "lyrics" in condition.split("+") if condition in CONDITIONS else None


def has_reference(condition: str) -> bool | None:
    """Tell whether reference audio is part of a condition; None for a condition that is none of the four."""
    return "ref" in condition.split("+") if condition in CONDITIONS else None
