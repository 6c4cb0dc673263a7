"""Cost: of a call, of a run before it starts, and the limit that no call may cross."""

import math
import threading
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cmi_bench.errors import RunError, UserError
from cmi_bench.models.base import ClipAhead
from cmi_bench.models.gemini.requests import RawAnswer
from cmi_bench.models.gemini.settings import JudgeSettings


class Budget:
    """Counts what was spent in this process, and what calls in flight may yet cost."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        """Dollars; None where there is no limit."""
        self.spent = 0.0
        """Dollars, as far as known."""
        self._reserved = 0.0
        self._changed = threading.Condition()

    def reserve(self, dollars: float) -> None:
        """Set aside the most that a call may cost; waits for calls in flight where they may leave enough.

        Raises:
            RunError: There is not enough left.
        """
        with self._changed:
            while not self._has(dollars) and self._reserved > 0:
                self._changed.wait()
            if not self._has(dollars):
                raise RunError(
                    f"The spending limit is reached: ${self.spent:.2f} of ${self.limit:.2f} are spent, and one answer"
                    f" more may cost ${dollars:.3f}.",
                    "All answers so far are kept. Raise model.max_spend, and run the same command again: it goes"
                    " on from there.",
                )
            self._reserved += dollars

    def settle(self, reserved: float, spent: float) -> None:
        """Give back what was set aside for a call, and count what it cost."""
        with self._changed:
            # No sum of floats that went up and down is exactly 0 again.
            self._reserved = max(self._reserved - reserved, 0.0) if self._reserved - reserved > 1e-9 else 0.0
            self.spent += spent
            self._changed.notify_all()

    def _has(self, dollars: float) -> bool:
        return self.limit is None or self.spent + self._reserved + dollars <= self.limit


AUDIO_TOKENS_PER_SECOND = 32
"""Of Google's documentation on audio: https://ai.google.dev/gemini-api/docs/audio."""
CHARACTERS_PER_TOKEN = 3.0
"""On the safe side: English has about 4."""
FORM_TOKENS = 150
"""Estimate of the schema and the text around the instruction."""
ANSWER_TOKENS = 120
"""A usual answer, without thoughts."""
THINKING_TOKENS = 1000
"""Estimate of the thoughts where the budget is the judge's own."""
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
    where = f"Give the cost of 10^6 tokens in dollars, from https://ai.google.dev/gemini-api/docs/pricing: {example}"
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
    """Tokens of a call."""

    text: float
    audio: float
    output: float

    def dollars(self, price: Price) -> float:
        """Return what it costs."""
        return sum(count * rate for count, rate in zip(self, price, strict=True)) / _MILLION


def expected_tokens(*, characters: int, seconds: float, output: float) -> Tokens:
    """Estimate a call before it is made.

    Args:
        characters: Of all text that is sent.
        seconds: Of all audio that is sent.
        output: Tokens of thoughts and answer.
    """
    text = characters / CHARACTERS_PER_TOKEN + FORM_TOKENS
    return Tokens(text=text, audio=seconds * AUDIO_TOKENS_PER_SECOND, output=output)


def used_tokens(raw: RawAnswer, *, seconds: float) -> Tokens | None:
    """Return the tokens of a call by the service's own count; None where it gives none.

    Args:
        raw: The answer.
        seconds: Of all audio that was sent, for services that do not count its tokens apart from those of text.
    """
    usage = raw.get("usage_metadata", {})
    if "prompt_token_count" not in usage:
        return None
    prompt = usage["prompt_token_count"]
    details = {one.get("modality"): one.get("token_count", 0) for one in usage.get("prompt_tokens_details") or ()}
    audio = min(details.get("AUDIO", seconds * AUDIO_TOKENS_PER_SECOND), prompt)
    output = usage.get("candidates_token_count", 0) + usage.get("thoughts_token_count", 0)
    return Tokens(text=prompt - audio, audio=audio, output=output)


class Estimate(NamedTuple):
    """A run's size and cost."""

    clips: int
    seconds: float
    """Of all audio that is sent, references included."""
    dollars: float
    """What is to be expected."""
    most: float
    """What it comes to if each answer takes all of `max_output_tokens`; calls that are repeated are not in it."""

    def __str__(self) -> str:
        return (
            f"{self.clips:,} clips, {self.seconds / 60:,.1f} min of audio: about ${self.dollars:.2f},"
            f" and ${self.most:.2f} if each answer is as long as it may be"
        )


def estimate(
    clips: Iterable[ClipAhead], settings: JudgeSettings, price: Price, *, max_dur: float, max_output_tokens: int
) -> Estimate:
    """Estimate the cost of judging clips, each once.

    Args:
        clips: What will be judged.
        settings: The judge's.
        price: Of the judge.
        max_dur: Seconds of each file that are sent.
        max_output_tokens: Bound of each answer.
    """
    thoughts = THINKING_TOKENS if settings.thinking_budget in (None, -1) else settings.thinking_budget
    usual = min((thoughts or 0) + ANSWER_TOKENS, max_output_tokens)
    total = Estimate(0, 0.0, 0.0, 0.0)
    for ahead in clips:
        seconds = _sent_seconds(ahead, max_dur)
        characters = len(settings.prompt) + len(ahead.clip.text) + len(ahead.clip.lyrics)
        expected, most = (
            expected_tokens(characters=characters, seconds=seconds, output=output).dollars(price)
            for output in (usual, max_output_tokens)
        )
        total = Estimate(total.clips + 1, total.seconds + seconds, total.dollars + expected, total.most + most)
    return total


def _sent_seconds(ahead: ClipAhead, max_dur: float) -> float:
    lengths = [ahead.seconds] if ahead.clip.ref_audio is None else [ahead.seconds, ahead.ref_seconds]
    return sum(max_dur if seconds is None else min(seconds, max_dur) for seconds in lengths)


def check_limit(cost: Estimate, limit: float | None) -> None:
    """Check that a run may start.

    Args:
        cost: What it comes to.
        limit: Dollars; None for no limit.

    Raises:
        RunError: It is to cost more than the limit.
    """
    if limit is not None and cost.dollars > limit:
        raise RunError(
            f"This run would cost about ${cost.dollars:.2f}, and the limit is {format_limit(limit)}.",
            f"Score fewer clips (limit=20, subset=pam), or allow more: model.max_spend={math.ceil(cost.dollars * 1.3)}",
        )


def format_limit(limit: float | None) -> str:
    """Return a limit in dollars, with the name of its option."""
    return "none (model.max_spend)" if limit is None else f"${limit:.2f} (model.max_spend)"
