"""Embedding what a run needs and the cache lacks: each piece of audio and each text once.

Scoring from embeddings: what is left of a run whose audio and text are in the cache.

Scoring with a model that does everything itself: the public contract's `score_batch`.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.models.base import (
    ALIGNMENT_COLUMN,
    MUSICALITY_COLUMN,
    AudioInput,
    BenchmarkBatchInput,
    EmbeddedInput,
    EmbeddingModel,
    RewardModel,
    SomeFailedError,
)
from cmi_bench.scoring.batching import bisect
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.requests import AudioItem, EmbeddingKeys, Needs, Request, TextItem, checked_scores
from cmi_bench.scoring.store import FailureLog, RunStats, ScoreWriter
from cmi_bench.types import Clip, Score
from cmi_bench.utils.files import writing_to


@dataclass
class LoadedAudio:
    """Decoded audio of a batch."""

    waveforms: list[tuple[AudioItem, Tensor]]
    errors: dict[str, str]
    """Why a file cannot be decoded, by embedding key."""
    seconds: float
    """Spent on decoding."""


@dataclass(frozen=True)
class AudioLoader:
    """Decodes audio as a model listens to it."""

    cache: EmbeddingCache
    """What another process put there meanwhile is not decoded."""
    sr: int
    """Hz."""
    seconds: dict[bool, float | None]
    """How much is decoded, of clips (False) and of references (True); None for all."""

    def __call__(self, items: Sequence[AudioItem]) -> LoadedAudio:
        """Decode a batch."""
        start = time.perf_counter()
        loaded = LoadedAudio([], {}, 0.0)
        for item in items:
            if item.key in self.cache:
                continue
            try:
                loaded.waveforms.append((item, decode(item.path, self.sr, self.seconds[item.is_reference])))
            except AudioError as error:
                loaded.errors[item.key] = error.what
        loaded.seconds = time.perf_counter() - start
        return loaded


Item = TypeVar("Item", AudioItem, TextItem)


class _EmbedStage(Generic[Item]):
    """What the stages have in common: they fill the cache with what it lacks."""

    def __init__(
        self,
        items: Sequence[Item],
        model: EmbeddingModel,
        cache: EmbeddingCache,
        *,
        failures: FailureLog,
        stats: RunStats,
    ) -> None:
        self.items: Sequence[Item] = items
        self.model = model
        self.cache = cache
        self.failures = failures
        self.stats = stats
        self.start = 0.0

    def pending(self) -> list[Item]:
        """Return what the cache lacks."""
        return [item for item in self.items if item.key not in self.cache]

    def _put(self, embedded: Iterable[tuple[Item, Sequence[Tensor]]]) -> None:
        with writing_to(self.cache.folder, instead="set cache.dir to another disk"):
            for item, tensors in embedded:
                self.cache.put(item.key, tensors)

    def _record(self, failed: dict[str, str]) -> int:
        for key, reason in failed.items():
            self.failures.append(key, reason)
        return len(failed)


class EmbedAudioStage(_EmbedStage[AudioItem]):
    """Encodes audio into the cache."""

    title = "encoding audio"

    def __init__(
        self,
        items: Sequence[AudioItem],
        model: EmbeddingModel,
        cache: EmbeddingCache,
        *,
        max_dur: float,
        failures: FailureLog,
        stats: RunStats,
    ) -> None:
        super().__init__(items, model, cache, failures=failures, stats=stats)
        self.max_dur = max_dur
        views = {flag: model.audio_view(max_dur, is_reference=flag) for flag in (False, True)}
        self.load = AudioLoader(cache, int(model.sr), {flag: view.seconds for flag, view in views.items()})
        self._idle_since: float | None = None

    def pending(self) -> list[AudioItem]:
        """Return what the cache lacks; from now on the model waits for audio."""
        items = super().pending()
        self._idle_since = time.perf_counter()
        return items

    def length(self, item: AudioItem) -> float:
        """Return the seconds that are heard."""
        return item.seconds

    def work(self, loaded: LoadedAudio) -> int:
        """Encode, and put what comes out into the cache."""
        if self._idle_since is not None:
            self.stats.seconds["wait"] += time.perf_counter() - self._idle_since
        self.stats.seconds["decode"] += loaded.seconds
        failed = dict(loaded.errors)
        lacking = [pair for pair in loaded.waveforms if pair[0].key not in self.cache]
        with self.stats.timed("encode"):
            for is_reference in (False, True):
                bisect(
                    [pair for pair in lacking if pair[0].is_reference is is_reference],
                    self._embed,
                    blame=lambda pair, reason: failed.update({pair[0].key: reason}),
                )
        self._idle_since = time.perf_counter()
        return self._record(failed)

    def _embed(self, part: Sequence[tuple[AudioItem, Tensor]]) -> None:
        """Embed audio that is heard in one way: clips only, or references only."""
        items = [item for item, _ in part]
        waveforms = [waveform for _, waveform in part]
        embedded = self.model.embed_audio(waveforms, self.max_dur, is_reference=items[0].is_reference)
        self._put(zip(items, embedded, strict=True))
        self.stats.counts["chunks_encoded"] += sum(item.chunks for item in items)


class EmbedTextStage(_EmbedStage[TextItem]):
    """Encodes prompts and lyrics into the cache."""

    title = "encoding text"

    @property
    def load(self) -> Callable[[Sequence[TextItem]], list[TextItem]]:
        """A text is there already."""
        return list

    def length(self, item: TextItem) -> float:
        """Return a length that sorts texts like their tokens do, and that no limit in seconds is meant for."""
        return len(item.text) / 1e6

    def work(self, loaded: list[TextItem]) -> int:
        """Encode, and put what comes out into the cache."""
        failed: dict[str, str] = {}
        lacking = [item for item in loaded if item.key not in self.cache]
        with self.stats.timed("encode"):
            bisect(lacking, self._embed, blame=lambda item, reason: failed.update({item.key: reason}))
        return self._record(failed)

    def _embed(self, part: Sequence[TextItem]) -> None:
        embedded = self.model.embed_texts([item.text for item in part])
        self._put((item, [tokens]) for item, tokens in zip(part, embedded, strict=True))
        self.stats.counts["texts_encoded"] += len(part)


@dataclass
class LoadedEmbeddings:
    """What a batch is scored from."""

    wanted: list[tuple[str, Needs]]
    """Request key, and what the request needs."""
    found: dict[str, list[Tensor]] = field(default_factory=dict)
    """Embeddings by key; one that turned out damaged is not among them."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why a request cannot be answered, by request key."""


@dataclass(frozen=True)
class EmbeddingLoader:
    """Reads embeddings from the cache."""

    cache: EmbeddingCache
    keys: EmbeddingKeys
    failed: Callable[[], dict[str, str]]
    """Why embeddings could not be made in this run, by embedding key."""

    def __call__(self, items: Sequence[Request]) -> LoadedEmbeddings:
        """Read what a batch needs, each embedding once."""
        failed = self.failed()
        loaded = LoadedEmbeddings([])
        for request in items:
            needs = self.keys.needs(request)
            reasons = [failed[key] for key in needs.keys if key in failed]
            if reasons:
                loaded.errors[request.key] = "; ".join(reasons)
                continue
            loaded.wanted.append((request.key, needs))
            for key in needs.keys:
                if key not in loaded.found and (tensors := self.cache.get(key)) is not None:
                    loaded.found[key] = tensors
        return loaded


_Prompt = tuple[str, str, str]


def _prompt(request: Request) -> _Prompt:
    return request.clip.text, request.clip.lyrics, request.ref_audio.digest if request.ref_audio else ""


class HeadStage:
    """Scores embedded clips."""

    title = "scoring"
    start = 0.0

    def __init__(
        self,
        requests: Sequence[Request],
        model: EmbeddingModel,
        keys: EmbeddingKeys,
        *,
        cache: EmbeddingCache,
        writer: ScoreWriter,
        stats: RunStats,
    ) -> None:
        self.model = model
        self.keys = keys
        # Side by side, those with one prompt meet in a batch, for which a model may look at the prompt once.
        self.requests = sorted(requests, key=_prompt)
        self._longest: dict[_Prompt, float] = {}
        for request in requests:
            seconds = request.seconds(keys.max_dur)
            self._longest[_prompt(request)] = max(seconds, self._longest.get(_prompt(request), 0.0))
        self.writer = writer
        self.stats = stats
        self.load = EmbeddingLoader(cache, keys, writer.failures.read)

    def pending(self) -> list[Request]:
        """Return the requests that nothing has answered yet."""
        return list(self.requests)

    def length(self, item: Request) -> float:
        """Return the seconds of audio of the longest request with the same prompt: the plan keeps equals together."""
        return self._longest[_prompt(item)]

    def work(self, loaded: LoadedEmbeddings) -> int:
        """Score, and store what comes back."""
        failed = [self.writer.fail(key, reason) for key, reason in loaded.errors.items()]
        with self.stats.timed("score"):
            bisect(
                loaded.wanted,
                lambda part: failed.append(self._score(part, loaded.found)),
                blame=lambda item, reason: failed.append(self.writer.fail(item[0], reason)),
            )
        return sum(failed)

    def _score(self, part: Sequence[tuple[str, Needs]], found: dict[str, list[Tensor]]) -> int:
        inputs = [self._embedded(needs, found) for _, needs in part]
        rows = checked_scores(self.model.score_embedded(inputs), len(inputs), type(self.model).__name__).tolist()
        return self.writer.keep({key: _score_of(row) for (key, _), row in zip(part, rows, strict=True)})

    def _embedded(self, needs: Needs, found: dict[str, list[Tensor]]) -> EmbeddedInput:
        return EmbeddedInput(
            windows=self._audio(needs.audio, found),
            text=self._text(needs.text, found),
            lyrics=self._text(needs.lyrics, found),
            ref_audio=self._audio(needs.ref_audio, found)[0] if needs.ref_audio else None,
        )

    def _audio(self, item: AudioItem, found: dict[str, list[Tensor]]) -> list[Tensor]:
        if item.key not in found:  # its entry was damaged, or pruned meanwhile: made anew, never believed
            seconds = self.keys.views[item.is_reference].seconds
            waveform = decode(item.path, int(self.model.sr), seconds)
            (found[item.key],) = self.model.embed_audio([waveform], self.keys.max_dur, is_reference=item.is_reference)
            self._put(item.key, found[item.key])
            self.stats.counts["chunks_encoded"] += item.chunks
        return found[item.key]

    def _text(self, item: TextItem, found: dict[str, list[Tensor]]) -> Tensor:
        if item.key not in found:
            found[item.key] = self.model.embed_texts([item.text])
            self._put(item.key, found[item.key])
            self.stats.counts["texts_encoded"] += 1
        return found[item.key][0]

    def _put(self, key: str, tensors: Sequence[Tensor]) -> None:
        self.load.cache.put(key, tensors)


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
        writer: ScoreWriter,
        stats: RunStats,
    ) -> None:
        self.requests = requests
        self.model = model
        self.load = RequestLoader(getattr(model, "audio_input", "path"), int(model.sr), max_dur)
        self.score_kwargs = score_kwargs
        self.writer = writer
        self.stats = stats

    def pending(self) -> list[Request]:
        """Return the requests that nothing has answered yet."""
        return list(self.requests)

    def length(self, item: Request) -> float:
        """Return the seconds of audio that a request is about."""
        return item.seconds(self.load.max_dur)

    def work(self, loaded: LoadedRequests) -> int:
        """Score, and store what comes back."""
        self.stats.seconds["decode"] += loaded.seconds
        failed = [self.writer.fail(key, reason) for key, reason in loaded.errors.items()]
        with self.stats.timed("score"):
            bisect(
                loaded.inputs,
                lambda part: failed.append(self._score(part)),
                blame=lambda item, reason: failed.append(self.writer.fail(item[0], reason)),
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
        failed = sum(self.writer.fail(part[place][0], reason) for place, reason in reasons.items())
        scores = {key: _score_of(row) for (key, _), row in zip(part, rows, strict=True)}
        return failed + self.writer.keep(
            {key: scores[key] for place, (key, _) in enumerate(part) if place not in reasons}
        )


def _score_of(row: Sequence[float]) -> Score:
    return Score(alignment=row[ALIGNMENT_COLUMN], musicality=row[MUSICALITY_COLUMN])
