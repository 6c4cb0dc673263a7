"""Scoring with a model that does everything itself: the public contract's `score_batch`."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.inference.answers import checked_scores
from cmi_bench.inference.clips import Clip
from cmi_bench.inference.halves import in_halves
from cmi_bench.inference.keeper import Keeper
from cmi_bench.inference.requests import Request
from cmi_bench.inference.score_store import StoredScore
from cmi_bench.inference.tally import Tally
from cmi_bench.models.contract import (
    ALIGNMENT_COLUMN,
    MUSICALITY_COLUMN,
    AudioInput,
    BenchmarkBatchInput,
    RewardModel,
    SomeFailedError,
)


@dataclass(frozen=True)
class RequestLoader:
    """Loads requests in the form in which a model wants its audio."""

    kind: AudioInput
    sr: int
    """Hz; of waveforms."""
    max_dur: float
    """Seconds decoded from a file's start; of waveforms."""

    def __call__(self, items: Sequence[Request]) -> "LoadedRequests":
        """Decode, or hand over the paths."""
        start = time.perf_counter()
        loaded = LoadedRequests([], {}, 0.0)
        for item in items:
            try:
                loaded.inputs.append((item.key, self._input(item.clip)))
            except AudioError as error:
                loaded.errors[item.key] = error.what
        loaded.seconds = time.perf_counter() - start
        return loaded

    def _input(self, clip: Clip) -> BenchmarkBatchInput:
        return BenchmarkBatchInput(
            audio=self._audio(clip.audio),
            text=clip.text,
            lyrics=clip.lyrics,
            ref_audio=self._audio(clip.ref_audio) if clip.ref_audio else None,
            clip_id=clip.clip_id,
        )

    def _audio(self, path: Path) -> str | Tensor:
        return str(path) if self.kind == "path" else decode(path, self.sr, self.max_dur)


@dataclass
class LoadedRequests:
    """A batch with its audio in the form the model takes."""

    inputs: list[tuple[str, BenchmarkBatchInput]]
    """Request key and what the model is given."""
    errors: dict[str, str]
    """Why a request cannot be put, by key."""
    seconds: float
    """Spent on decoding."""


class WholeStage:
    """Asks `score_batch`, with the audio decoded in the data loader's workers."""

    title = "scoring"
    start = 0.0

    def __init__(
        self,
        requests: Sequence[Request],
        model: RewardModel,
        *,
        max_dur: float,
        score_kwargs: Mapping[str, Any],
        keeper: Keeper,
        tally: Tally,
    ) -> None:
        self.requests = requests
        self.model = model
        self.load = RequestLoader(getattr(model, "audio_input", "path"), int(model.sr), max_dur)
        self.score_kwargs = score_kwargs
        self.keeper = keeper
        self.tally = tally

    def pending(self) -> list[Request]:
        """Return the requests that nothing has answered yet."""
        return list(self.requests)

    def length(self, item: Request) -> float:
        """Return the seconds of audio that a request is about."""
        return item.seconds(self.load.max_dur)

    def work(self, loaded: LoadedRequests) -> int:
        """Score, and store what comes back."""
        self.tally.seconds["decode"] += loaded.seconds
        failed = [self.keeper.fail(key, reason) for key, reason in loaded.errors.items()]
        with self.tally.timed("score"):
            in_halves(
                loaded.inputs,
                lambda part: failed.append(self._score(part)),
                blame=lambda item, reason: failed.append(self.keeper.fail(item[0], reason)),
            )
        return sum(failed)

    def _score(self, part: Sequence[tuple[str, BenchmarkBatchInput]]) -> int:
        inputs = [one for _, one in part]
        reasons: Mapping[int, str] = {}
        try:
            answer = self.model.score_batch(inputs, len(inputs), self.load.max_dur, **self.score_kwargs)
        except SomeFailedError as error:
            answer, reasons = error.scores, error.reasons
        rows = checked_scores(answer, len(inputs), type(self.model).__name__).tolist()
        failed = sum(self.keeper.fail(part[place][0], reason) for place, reason in reasons.items())
        return failed + self.keeper.keep(
            StoredScore(key, alignment=row[ALIGNMENT_COLUMN], musicality=row[MUSICALITY_COLUMN])
            for place, ((key, _), row) in enumerate(zip(part, rows, strict=True))
            if place not in reasons
        )
