"""What a call costs."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from cmi_bench.errors import UserError
from cmi_bench.models.gemini.answer import RawAnswer

AUDIO_TOKENS_PER_SECOND = 32
"""Of Google's documentation on audio: https://ai.google.dev/gemini-api/docs/audio."""
CHARACTERS_PER_TOKEN = 3.0
"""On the safe side: English has about 4."""
FORM_TOKENS = 150
"""What the schema and the words around the instruction come to."""
ANSWER_TOKENS = 120
"""A usual answer, without thoughts."""
THINKING_TOKENS = 1000
"""What is reckoned for thoughts where the budget is the judge's own."""
_MILLION = 1e6


class Price(NamedTuple):
    """Dollars for 10^6 tokens."""

    text: float
    audio: float
    output: float
    """Thoughts included."""


def price_of(judge: str, prices: Mapping[str, Mapping[str, Any]]) -> Price:
    """Look a judge's price up.

    Raises:
        UserError: It is not in the table, or not complete.
    """
    example = f"'+model.prices={{{judge}:{{text:1.25,audio:1.25,output:10}}}}'"
    where = f"Say what 10^6 tokens cost in dollars, from https://ai.google.dev/gemini-api/docs/pricing: {example}"
    if judge not in prices:
        raise UserError(f"There is no price for model.judge={judge}, so its cost cannot be bounded.", where)
    try:
        price = Price(**{name: float(value) for name, value in prices[judge].items()})
    except (TypeError, ValueError):
        raise UserError(f"The price of {judge} is not readable: {dict(prices[judge])}.", where) from None
    if not all(math.isfinite(part) and part >= 0 for part in price):
        raise UserError(f"The price of {judge} is not readable: {dict(prices[judge])}.", where)
    return price


class Tokens(NamedTuple):
    """How much a call is about."""

    text: float
    audio: float
    output: float

    def dollars(self, price: Price) -> float:
        """Return what it costs."""
        return sum(count * rate for count, rate in zip(self, price, strict=True)) / _MILLION


def asked_tokens(*, characters: int, seconds: float, output: float) -> Tokens:
    """Estimate a call before it is made.

    Args:
        characters: Of all text that is sent.
        seconds: Of all audio that is sent.
        output: Tokens of thoughts and answer.
    """
    text = characters / CHARACTERS_PER_TOKEN + FORM_TOKENS
    return Tokens(text=text, audio=seconds * AUDIO_TOKENS_PER_SECOND, output=output)


def used_tokens(raw: RawAnswer, *, seconds: float) -> Tokens | None:
    """Return what the service says that a call came to; None where it does not say.

    Args:
        raw: The answer.
        seconds: Of all audio that was sent, for services that do not tell its tokens from those of text.
    """
    usage = raw.get("usage_metadata", {})
    if "prompt_token_count" not in usage:
        return None
    asked = usage["prompt_token_count"]
    details = {one.get("modality"): one.get("token_count", 0) for one in usage.get("prompt_tokens_details") or ()}
    audio = min(details.get("AUDIO", seconds * AUDIO_TOKENS_PER_SECOND), asked)
    output = usage.get("candidates_token_count", 0) + usage.get("thoughts_token_count", 0)
    return Tokens(text=asked - audio, audio=audio, output=output)
