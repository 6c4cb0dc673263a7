"""Put a question to Gemini until there is an answer that can be read."""

import logging
import random
from typing import TYPE_CHECKING, Any

from cmi_bench.models.contract import Score
from cmi_bench.models.gemini.answer import RawAnswer, raw_answer, read_answer
from cmi_bench.models.gemini.answer_store import AnswerStore
from cmi_bench.models.gemini.budget import Budget
from cmi_bench.models.gemini.client import GOOGLE
from cmi_bench.models.gemini.key import Key
from cmi_bench.models.gemini.outcomes import ClipError, RetryError
from cmi_bench.models.gemini.pace import Pace
from cmi_bench.models.gemini.prices import Price, Tokens, asked_tokens, used_tokens
from cmi_bench.models.gemini.request import Question, content, generation
from cmi_bench.models.gemini.settings import CallSettings, JudgeSettings
from cmi_bench.models.gemini.trouble import may_be_billed, what_it_means
from cmi_bench.models.gemini.upload import audio_parts

if TYPE_CHECKING:
    from google.genai import Client

log = logging.getLogger(__name__)

LONGEST_WAIT = 300.0
"""Seconds; where the service asks for more, the user decides."""
JITTER = 0.25
"""Calls that failed together are not repeated together: up to this share is added to a wait."""


class Judge:
    """Makes calls: paced, paid for, repeated, and kept. Used by several threads at once."""

    def __init__(
        self,
        client: "Client",
        key: Key,
        settings: JudgeSettings,
        calls: CallSettings,
        *,
        price: Price,
        budget: Budget,
        answers: AnswerStore,
    ) -> None:
        self.client = client
        self.key = key
        self.settings = settings
        self.calls = calls
        self.price = price
        self.budget = budget
        self.answers = answers
        self.pace = Pace(calls.requests_per_minute)

    def ask(self, question: Question) -> Score:
        """Return the judge's scores, 0 to 100.

        Raises:
            ClipError: There is no answer for this clip.
            RunError: There will be none for any.
            StoppedError: The run is over.
        """
        failures = 0
        while True:
            try:
                return self._attempt(question)
            except RetryError as failure:
                failures += 1
                self._wait(failure, failures)

    def _wait(self, failure: RetryError, failures: int) -> None:
        """Wait for the next attempt, or raise what the failures come to."""
        waits_too_long = failure.wait is not None and failure.wait > LONGEST_WAIT
        if failures >= min(failure.attempts or self.calls.attempts, self.calls.attempts) or waits_too_long:
            if isinstance(failure.final, ClipError):
                raise ClipError(f"{failure.final} ({failures} attempts)")
            raise failure.final
        seconds = self.calls.backoff * 2.0 ** (failures - 1) if failure.wait is None else failure.wait
        log.debug("%s; trying again in %.1f s", failure, seconds)
        if failure.wait is not None:  # said to the key, not to this call
            self.pace.hold(seconds)
        self.pace.pause(seconds * (1 + JITTER * random.random()))

    def _attempt(self, question: Question) -> Score:
        self.pace.wait_for_turn()
        most = self._most(question).dollars(self.price)
        self.budget.reserve(most)
        cost = 0.0
        try:
            raw = self._call(question)
            used = used_tokens(raw, seconds=_seconds(question))
            cost = most if used is None else used.dollars(self.price)
            self.answers.add(question.key, raw, dollars=cost)
            return read_answer(raw, with_alignment=question.has_instruction)
        except Exception as error:
            if cost == 0.0 and may_be_billed(error):
                cost = most
            # From None: the client's own exceptions may show what was sent.
            raise what_it_means(
                error, key=self.key, judge=self.settings.judge, address=self.settings.base_url or GOOGLE
            ) from None
        finally:
            self.budget.settle(most, cost)

    def _call(self, question: Question) -> RawAnswer:
        calls = self.calls
        with audio_parts(self.client, question.recordings, inline_mb=calls.inline_mb, timeout=calls.timeout) as audio:
            asked: Any = content(question, audio)
            config: Any = generation(
                self.settings, max_output_tokens=calls.max_output_tokens, with_alignment=question.has_instruction
            )
            return raw_answer(
                self.client.models.generate_content(model=self.settings.judge, contents=asked, config=config)
            )

    def _most(self, question: Question) -> Tokens:
        characters = len(self.settings.prompt) + len(question.text) + len(question.lyrics)
        return asked_tokens(characters=characters, seconds=_seconds(question), output=self.calls.max_output_tokens)


def _seconds(question: Question) -> float:
    return sum(one.seconds for one in question.recordings)
