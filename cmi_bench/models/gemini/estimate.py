"""What a run will cost, reckoned before it starts."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from cmi_bench.errors import RunError
from cmi_bench.models.gemini.prices import ANSWER_TOKENS, THINKING_TOKENS, Price, asked_tokens
from cmi_bench.models.gemini.settings import JudgeSettings
from cmi_bench.models.remote import ClipAhead


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
    """Estimate what asking about clips costs, each once.

    Args:
        clips: What will be asked.
        settings: How.
        price: Of the judge.
        max_dur: Seconds of each file that are sent.
        max_output_tokens: Bound of each answer.
    """
    thoughts = THINKING_TOKENS if settings.thinking_budget in (None, -1) else settings.thinking_budget
    usual = min((thoughts or 0) + ANSWER_TOKENS, max_output_tokens)
    total = Estimate(0, 0.0, 0.0, 0.0)
    for clip in clips:
        seconds = _heard(clip, max_dur)
        characters = len(settings.prompt) + len(clip.text) + len(clip.lyrics)
        expected, most = (
            asked_tokens(characters=characters, seconds=seconds, output=output).dollars(price)
            for output in (usual, max_output_tokens)
        )
        total = Estimate(total.clips + 1, total.seconds + seconds, total.dollars + expected, total.most + most)
    return total


def _heard(clip: ClipAhead, max_dur: float) -> float:
    lengths = [clip.seconds] if clip.ref_audio is None else [clip.seconds, clip.ref_seconds]
    return sum(max_dur if seconds is None else min(seconds, max_dur) for seconds in lengths)


def check_limit(cost: Estimate, limit: float | None) -> None:
    """See whether a run may start.

    Args:
        cost: What it comes to.
        limit: Dollars; None for no limit.

    Raises:
        RunError: It is to cost more than the limit.
    """
    if limit is not None and cost.dollars > limit:
        raise RunError(
            f"This run would cost about ${cost.dollars:.2f}, and the limit is {limit_in_words(limit)}.",
            f"Score fewer clips (limit=20, subset=pam), or allow more: model.max_spend={math.ceil(cost.dollars * 1.3)}",
        )


def limit_in_words(limit: float | None) -> str:
    """Return a limit in dollars, with its name."""
    return "none (model.max_spend)" if limit is None else f"${limit:.2f} (model.max_spend)"
