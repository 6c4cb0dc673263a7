"""The reward model that has Gemini, a multimodal language model, judge clips through Google's API."""

import contextlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cmi_bench.audio.readers import AudioError
from cmi_bench.errors import RunError
from cmi_bench.models.base import (
    AudioInput,
    BenchmarkBatchInput,
    BenchmarkModelABC,
    SomeFailedError,
    WorkAhead,
)
from cmi_bench.models.config_files import read_options
from cmi_bench.models.gemini.client import AnswerStore, Judge, Pace, make_client
from cmi_bench.models.gemini.cost import Budget, check_limit, estimate, format_limit, price_of
from cmi_bench.models.gemini.requests import (
    Audio,
    ClipError,
    ClipRequest,
    RetryError,
    RunOverError,
    digest,
    encode_flac,
    read_answer,
)
from cmi_bench.models.gemini.settings import (
    CallSettings,
    JudgeSettings,
    SpendingLimit,
    key_from_environment,
    prompt_text,
)
from cmi_bench.types import Clip, Score
from cmi_bench.utils.files import content_key

log = logging.getLogger(__name__)


@dataclass
class Outcomes:
    """Scores and failures of a batch, by request."""

    scores: dict[str, Score] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why there is no score."""


def score_all(calls: Mapping[str, Callable[[], Score]], pace: Pace, *, in_flight: int) -> Outcomes:
    """Make calls, several at a time, and wait for all of them.

    Where the run ends early, calls in flight are waited for: their answers are paid for, and kept.

    Args:
        calls: Each returns the scores of one clip.
        pace: Stops whoever waits when the run is over.
        in_flight: How many at a time.

    Raises:
        RunError: No further call can succeed.
        KeyboardInterrupt: The user stopped the run.
    """
    outcomes = Outcomes()
    pace.stop.clear()
    with ThreadPoolExecutor(in_flight) as pool:
        futures = {pool.submit(_call, call, pace): key for key, call in calls.items()}
        try:
            for future in as_completed(futures):
                _sort(future, futures[future], outcomes)
        except BaseException as error:
            pace.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                log.info("Waiting for the answers that are on their way: they are paid for.")
            raise
    return outcomes


def _call(call: Callable[[], Score], pace: Pace) -> Score:
    try:
        return call()
    except RunError:
        pace.stop.set()  # here, not where it is waited for: this thread would begin the next call meanwhile
        raise


def _sort(future: "Future[Score]", key: str, outcomes: Outcomes) -> None:
    try:
        outcomes.scores[key] = future.result()
    except AudioError as error:
        outcomes.reasons[key] = error.what
    except ClipError as error:
        outcomes.reasons[key] = str(error)
    except RunOverError:
        pass  # another call has the error that ends the run


BATCHES = 4
"""How many times `in_flight` clips make a batch: few waits for the slowest answer, and still a bar that moves."""


class GeminiJudge(BenchmarkModelABC):
    """A language model that gives both scores of a clip, 0 to 100, in one call.

    A clip's score depends on nothing but the clip and its instruction, as far as the service answers equal requests
    equally. Answers are kept by content and used again. A clip without any instruction gets 50 for alignment.
    """

    audio_input: AudioInput = "path"

    def __init__(
        self,
        *,
        judge: str,
        temperature: float,
        sr: int,
        prices: Mapping[str, Mapping[str, Any]],
        calls: Mapping[str, Any],
        prompt: str | None = None,
        prompt_file: str | None = None,
        thinking_budget: int | None = None,
        base_url: str | None = None,
        max_spend: float | None = None,
    ) -> None:
        """Read key and settings; nothing is sent yet.

        Args:
            judge: Google's name of the model.
            temperature: 0 for the least random answers.
            sr: Hz of the audio that is sent.
            prices: Dollars for 10^6 tokens by judge; see `cost.Price`.
            calls: See `settings.CallSettings`.
            prompt: The judge's instruction.
            prompt_file: A file with that; goes before `prompt`.
            thinking_budget: Tokens that it may think for; None leaves it to the judge.
            base_url: Another address than Google's.
            max_spend: Dollars that a run may cost; None for no limit.

        Raises:
            UserError: The key or the package is missing, or a setting is not right.
        """
        settings = {"temperature": temperature, "sr": sr, "thinking_budget": thinking_budget, "base_url": base_url}
        text = prompt_text(prompt, prompt_file)
        self.settings = read_options(settings | {"judge": judge, "prompt": text}, JudgeSettings)
        self.max_spend = read_options({"max_spend": max_spend}, SpendingLimit).max_spend
        options = read_options(calls, CallSettings, name="model.calls")
        key = key_from_environment()
        self._judge = Judge(
            make_client(key, base_url=base_url, timeout=options.timeout),
            key,
            self.settings,
            options,
            price=price_of(judge, prices),
            budget=Budget(self.max_spend),
            answers=AnswerStore(key),
        )

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of waveforms, and of what is sent."""
        return self.settings.sr

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`, as far as it is known here."""
        return self.settings.identity()

    @property
    def digest(self) -> str:
        """The same, for the run's metadata: it differs between runs with different prompts."""
        return self.identity

    @property
    def facts(self) -> dict[str, Any]:
        """For the run's metadata: what this process has spent, in dollars."""
        return {"spent_dollars": round(self._judge.budget.spent, 4)}

    @property
    def clips_at_once(self) -> int:
        """How many clips make a good batch."""
        return self._judge.calls.in_flight * BATCHES

    def prepare(self, work: WorkAhead) -> None:
        """Find the answers of earlier runs, and print what the others will cost.

        Raises:
            RunError: That is more than `max_spend`; or the run has several processes.
        """
        if work.processes > 1:
            raise RunError(
                f"Gemini is called from one process, which keeps to the limits; this run has {work.processes}.",
                "Use device=cpu. The number of clips judged at the same time is model.calls.in_flight.",
            )
        judge = self._judge
        judge.answers.open(work.folder / "answers", self.settings.model_dump(), read=work.resume)
        judge.budget = Budget(self.max_spend)
        ahead = [one for one in work.clips if not self._is_answered(one.clip, work.max_dur)]
        if ahead:
            longest = judge.calls.max_output_tokens
            cost = estimate(ahead, self.settings, judge.price, max_dur=work.max_dur, max_output_tokens=longest)
            log.info("%s, %s. Limit: %s.", self.settings.judge, cost, format_limit(self.max_spend))
            check_limit(cost, self.max_spend)

    def finish(self) -> None:
        """Print what was spent."""
        if self._judge.budget.spent:
            log.info("Spent on %s: $%.2f.", self.settings.judge, self._judge.budget.spent)

    def score_batch(
        self,
        inputs: Sequence[BenchmarkBatchInput],
        batch_size: int,
        max_dur: float,
        **_kwargs: Any,
    ) -> npt.NDArray[np.float64]:
        """Score clips, `in_flight` at a time; see `BenchmarkModelABC.score_batch`.

        Raises:
            SomeFailedError: Clips could not be judged.
            RunError: The key is refused, the quota or the spending limit is used up, there is no network.
        """
        keys = [self._key(clip.audio, clip.text, clip.lyrics, clip.ref_audio, max_dur) for clip in inputs]
        calls = {key: partial(self._score, key, clip, max_dur) for key, clip in zip(keys, inputs, strict=True)}
        found = score_all(calls, self._judge.pace, in_flight=self._judge.calls.in_flight)
        nothing = Score(math.nan, math.nan)
        scores = np.array([found.scores.get(key, nothing).columns for key in keys], dtype=np.float64).reshape(-1, 2)
        if found.reasons:
            raise SomeFailedError(scores, {i: found.reasons[key] for i, key in enumerate(keys) if key in found.reasons})
        return scores

    def _score(self, key: str, clip: BenchmarkBatchInput, max_dur: float) -> Score:
        kept = self._kept(key, with_alignment=bool(clip.text or clip.lyrics or clip.ref_audio is not None))
        if kept is not None:
            return kept
        recording = encode_flac(clip.audio, sr=self.sr, max_dur=max_dur)
        reference = None if clip.ref_audio is None else encode_flac(clip.ref_audio, sr=self.sr, max_dur=max_dur)
        return self._judge.score(ClipRequest(key, recording, reference, clip.text, clip.lyrics))

    def _is_answered(self, clip: Clip, max_dur: float) -> bool:
        if not len(self._judge.answers):  # nothing to look for: spare reading all files
            return False
        reference = None if clip.ref_audio is None else str(clip.ref_audio)
        key = self._key(str(clip.audio), clip.text, clip.lyrics, reference, max_dur)
        return self._kept(key, with_alignment=bool(clip.text or clip.lyrics or clip.ref_audio)) is not None

    def _kept(self, key: str, *, with_alignment: bool) -> Score | None:
        """Return the newest answer that can be read; what failed once is repeated by the next run."""
        for answer in self._judge.answers.of(key):
            with contextlib.suppress(ClipError, RetryError):
                return read_answer(answer.raw, with_alignment=with_alignment)
        return None

    def _key(self, audio: Audio, text: str, lyrics: str, ref_audio: Audio | None, max_dur: float) -> str:
        return content_key(
            audio=digest(audio),
            text=text,
            lyrics=lyrics,
            ref_audio=None if ref_audio is None else digest(ref_audio),
            settings=self.identity,
            max_dur=float(max_dur),
        )
