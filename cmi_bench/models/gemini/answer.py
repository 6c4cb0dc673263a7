"""Read the judge's answer, whether it has just come or was kept."""

import json
import math
from collections.abc import Mapping
from typing import Any

from cmi_bench.models.contract import Score
from cmi_bench.models.gemini.outcomes import ClipError, RetryError
from cmi_bench.models.gemini.request import BEST, WORST

RawAnswer = Mapping[str, Any]
"""`GenerateContentResponse` as plain values, without the HTTP headers."""

NEUTRAL = (WORST + BEST) / 2
"""Alignment of a clip without prompt, lyrics and reference: there is nothing it could miss."""
REFUSALS = frozenset(
    ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "ESCALATION", "MODEL_ARMOR")
)
"""Ways to finish that mean: this is not answered."""
_SHOWN = 80
"""Characters of an answer that are shown where it cannot be read."""


def raw_answer(response: Any) -> RawAnswer:
    """Return the client's response as plain values."""
    kept: RawAnswer = response.model_dump(
        mode="json", exclude_none=True, exclude={"sdk_http_response", "parsed", "automatic_function_calling_history"}
    )
    return kept


def read_answer(raw: RawAnswer, *, with_alignment: bool) -> Score:
    """Return the scores in an answer, 0 to 100.

    Args:
        raw: The answer.
        with_alignment: Whether it was asked for; if not, alignment is `NEUTRAL`.

    Raises:
        ClipError: The service refuses to judge this clip.
        RetryError: The answer is cut off, empty, or not of the form that was asked for.
    """
    blocked = raw.get("prompt_feedback", {}).get("block_reason")
    if blocked:
        raise ClipError(f"Gemini blocked the request ({blocked})")
    candidate: RawAnswer = next(iter(raw.get("candidates") or ()), {})
    finish = str(candidate.get("finish_reason", "no reason given"))
    if finish in REFUSALS:
        raise ClipError(f"Gemini blocked its answer ({finish})")
    if finish == "MAX_TOKENS":
        reason = "the answer was cut off at model.calls.max_output_tokens"
        raise RetryError(reason, final=ClipError(reason))
    text = _text(candidate)
    try:
        value = json.loads(text)
        musicality = _score(value["musicality"])
        alignment = _score(value["alignment"]) if with_alignment else NEUTRAL
    except (ValueError, TypeError, KeyError) as error:
        shown = repr(text[:_SHOWN]) if text else "it is empty"
        reason = f"the answer cannot be read ({type(error).__name__}; finished: {finish}): {shown}"
        raise RetryError(reason, final=ClipError(reason)) from None
    return Score(alignment=alignment, musicality=musicality)


def _text(candidate: Mapping[str, Any]) -> str:
    parts = candidate.get("content", {}).get("parts") or ()
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def _score(value: object) -> float:
    """Return a score that is on the scale."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    if not (math.isfinite(value) and WORST <= value <= BEST):
        raise ValueError(value)
    return float(value)
