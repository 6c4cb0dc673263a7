"""The stages of scoring: embed audio, embed text, score from embeddings; or score whole, with `score_batch` alone.

Each says what there is to do, how a batch is loaded (in the data loader's workers, without the model) and how it is
worked on. A batch that fails is bisected: too large a batch is halved until it fits, a broken clip costs no other its
score.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.models.base import AudioInput, BenchmarkBatchInput, EmbeddedInput
from cmi_bench.scoring.batching import Outcome, bisect
from cmi_bench.scoring.embedding_cache import AudioItem, CachedModel, EmbeddingCache, EmbeddingInputs, TextItem
from cmi_bench.scoring.model_call import ModelCall, read_answer
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.store import RunStats
from cmi_bench.types import Clip


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
    """Decodes audio as an embedding model takes it."""

    cache: EmbeddingCache
    """What another process put there meanwhile is not decoded."""
    sr: int
    """Hz."""
    seconds: Mapping[bool, float | None]
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


class EmbedAudioStage:
    """Encodes the audio that the cache lacks."""

    title = "encoding audio"

    def __init__(self, items: Sequence[AudioItem], model: CachedModel, stats: RunStats, *, start: float = 0.0) -> None:
        """Take what is needed.

        Args:
            items: Audio that the run needs, each once.
            model: Encodes and stores.
            stats: Takes times.
            start: Where in the plan to begin, from 0 to 1.
        """
        self.items = items
        self.model = model
        self.stats = stats
        self.start = start
        self.load = AudioLoader(model.cache, model.sr, {flag: view.seconds for flag, view in model.views.items()})
        self._idle_since: float | None = None

    def pending(self) -> list[AudioItem]:
        """Return what the cache lacks; from now on the model waits for audio."""
        self._idle_since = time.perf_counter()
        return [item for item in self.items if item.key not in self.model.cache]

    def length(self, item: AudioItem) -> float:
        """Return the seconds that are decoded."""
        return item.seconds

    def work(self, loaded: LoadedAudio) -> Outcome:
        """Encode and store."""
        if self._idle_since is not None:
            self.stats.seconds["wait"] += time.perf_counter() - self._idle_since
        self.stats.seconds["decode"] += loaded.seconds
        failures = dict(loaded.errors)
        with self.stats.timed("encode"):
            for is_reference in (False, True):
                bisect(
                    [pair for pair in loaded.waveforms if pair[0].is_reference is is_reference],
                    self._embed,
                    blame=lambda pair, reason: failures.update({pair[0].key: reason}),
                )
        self._idle_since = time.perf_counter()
        return Outcome(failures=failures)

    def _embed(self, part: Sequence[tuple[AudioItem, Tensor]]) -> None:
        self.model.embed_audio([item for item, _ in part], {item.key: waveform for item, waveform in part})


class EmbedTextStage:
    """Encodes the prompts and lyrics that the cache lacks."""

    title = "encoding text"
    start = 0.0

    def __init__(self, items: Sequence[TextItem], model: CachedModel, stats: RunStats) -> None:
        self.items = items
        self.model = model
        self.stats = stats

    @property
    def load(self) -> Callable[[Sequence[TextItem]], list[TextItem]]:
        """A text is there already."""
        return list

    def pending(self) -> list[TextItem]:
        """Return what the cache lacks."""
        return [item for item in self.items if item.key not in self.model.cache]

    def length(self, item: TextItem) -> float:
        """Return a length that sorts texts like their tokens do, and that no limit in seconds is meant for."""
        return len(item.text) / 1e6

    def work(self, loaded: list[TextItem]) -> Outcome:
        """Encode and store."""
        failures: dict[str, str] = {}
        with self.stats.timed("encode"):
            bisect(loaded, self._embed, blame=lambda item, reason: failures.update({item.key: reason}))
        return Outcome(failures=failures)

    def _embed(self, part: Sequence[TextItem]) -> None:
        self.model.embed_texts(part)


@dataclass
class LoadedEmbeddings:
    """What a batch is scored from."""

    wanted: list[tuple[str, EmbeddingInputs]]
    """Request key, and what the request is scored from."""
    found: dict[str, list[Tensor]] = field(default_factory=dict)
    """Embeddings by key; one that turned out damaged is not among them."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why a request cannot be scored, by request key."""


@dataclass(frozen=True)
class EmbeddingLoader:
    """Reads embeddings from the cache."""

    cache: EmbeddingCache
    inputs_of: Callable[[Request], EmbeddingInputs]
    """What a request is scored from."""
    failed: Callable[[], Mapping[str, str]]
    """Why embeddings could not be made in this run, by embedding key."""

    def __call__(self, items: Sequence[Request]) -> LoadedEmbeddings:
        """Read what a batch needs, each embedding once."""
        failed = self.failed()
        loaded = LoadedEmbeddings([])
        for request in items:
            inputs = self.inputs_of(request)
            reasons = [failed[key] for key in inputs.keys if key in failed]
            if reasons:
                loaded.errors[request.key] = "; ".join(reasons)
                continue
            loaded.wanted.append((request.key, inputs))
            for key in inputs.keys:
                if key not in loaded.found and (tensors := self.cache.get(key)) is not None:
                    loaded.found[key] = tensors
        return loaded


_Prompt = tuple[str, str, str]


def _prompt(request: Request) -> _Prompt:
    return request.clip.text, request.clip.lyrics, request.ref_audio.digest if request.ref_audio else ""


class HeadStage:
    """Scores clips whose audio and texts are embedded."""

    title = "scoring"
    start = 0.0

    def __init__(
        self,
        requests: Sequence[Request],
        model: CachedModel,
        stats: RunStats,
        *,
        failed: Callable[[], Mapping[str, str]],
    ) -> None:
        """Take what is needed.

        Args:
            requests: What is to be scored.
            model: Looks up embeddings, and makes anew what is damaged.
            stats: Takes times.
            failed: Returns why embeddings could not be made in this run, by embedding key.
        """
        self.model = model
        self.stats = stats
        # Side by side, those with one prompt meet in a batch, for which a model may look at the prompt once.
        self.requests = sorted(requests, key=_prompt)
        self._longest: dict[_Prompt, float] = {}
        for request in requests:
            self._longest[_prompt(request)] = max(request.seconds, self._longest.get(_prompt(request), 0.0))
        self.load = EmbeddingLoader(model.cache, model.addresses.inputs_of, failed)

    def pending(self) -> list[Request]:
        """Return the requests that nothing has answered yet."""
        return list(self.requests)

    def length(self, item: Request) -> float:
        """Return the seconds of audio of the longest request with the same prompt: the plan keeps equals together."""
        return self._longest[_prompt(item)]

    def work(self, loaded: LoadedEmbeddings) -> Outcome:
        """Score."""
        outcome = Outcome(failures=dict(loaded.errors))
        with self.stats.timed("score"):
            bisect(
                loaded.wanted,
                lambda part: outcome.add(self._score(part, loaded.found)),
                blame=lambda item, reason: outcome.failures.update({item[0]: reason}),
            )
        return outcome

    def _score(self, part: Sequence[tuple[str, EmbeddingInputs]], found: dict[str, list[Tensor]]) -> Outcome:
        clips = [self._embedded(inputs, found) for _, inputs in part]
        return read_answer([key for key, _ in part], self.model.score_embedded(clips), self.model.name)

    def _embedded(self, inputs: EmbeddingInputs, found: dict[str, list[Tensor]]) -> EmbeddedInput:
        for item in inputs.audio_items:
            if item.key not in found:  # its entry was damaged, or pruned meanwhile
                (found[item.key],) = self.model.embed_audio([item])
        for text in (inputs.text, inputs.lyrics):
            if text.key not in found:
                found[text.key] = self.model.embed_texts([text])
        return EmbeddedInput(
            windows=found[inputs.audio.key],
            text=found[inputs.text.key][0],
            lyrics=found[inputs.lyrics.key][0],
            ref_audio=found[inputs.ref_audio.key][0] if inputs.ref_audio else None,
        )


@dataclass
class LoadedInputs:
    """A batch with its audio in the form that the model takes."""

    inputs: list[tuple[str, BenchmarkBatchInput]]
    """Request key and what the model is given."""
    errors: dict[str, str]
    """Why a clip cannot be loaded, by request key."""
    seconds: float
    """Spent on decoding."""


@dataclass(frozen=True)
class InputLoader:
    """Loads requests in the form in which a model takes its audio."""

    form: AudioInput
    sr: int
    """Hz; of waveforms."""
    seconds: float
    """How much is decoded, from a file's start; of waveforms."""

    def __call__(self, items: Sequence[Request]) -> LoadedInputs:
        """Decode, or hand over the paths."""
        start = time.perf_counter()
        loaded = LoadedInputs([], {}, 0.0)
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
        return str(path) if self.form == "path" else decode(path, self.sr, self.seconds)


class WholeStage:
    """Scores with `score_batch`, with the audio decoded in the data loader's workers."""

    title = "scoring"
    start = 0.0

    def __init__(self, requests: Sequence[Request], call: ModelCall, stats: RunStats) -> None:
        self.requests = requests
        self.call = call
        self.stats = stats
        self.load = InputLoader(call.model.audio_input, int(call.model.sr), call.max_dur)

    def pending(self) -> list[Request]:
        """Return the requests that nothing has answered yet."""
        return list(self.requests)

    def length(self, item: Request) -> float:
        """Return the seconds of audio that a request is about."""
        return item.seconds

    def work(self, loaded: LoadedInputs) -> Outcome:
        """Score."""
        self.stats.seconds["decode"] += loaded.seconds
        outcome = Outcome(failures=dict(loaded.errors))
        with self.stats.timed("score"):
            bisect(
                loaded.inputs,
                lambda part: outcome.add(self.call.score(dict(part))),
                blame=lambda item, reason: outcome.failures.update({item[0]: reason}),
            )
        return outcome
