"""The stages of scoring: embed audio, embed text, score from embeddings; or score whole, with `score_batch` alone.

Each says what there is to do, how a batch is loaded (in the data loader's workers, without the model) and how it is
worked on. A batch that fails is bisected: too large a batch is halved until it fits, a broken clip costs no other its
score. What a part comes to is written when that part is done.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.errors import RunError, UserError
from cmi_bench.models.base import AudioInput, BenchmarkBatchInput, BenchmarkModelABC, EmbeddedInput
from cmi_bench.models.memory import is_gpu_lost
from cmi_bench.scoring.batching import ScoreWriter, bisect
from cmi_bench.scoring.cached_model import CachedModel
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_items import AudioItem, EmbeddingInputs, TextItem
from cmi_bench.scoring.fitted_batches import FittedBatches
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.types import Clip, Score


class StageItem(Protocol):
    """What stages work on."""

    @property
    def key(self) -> str:
        """Its address among the items of a stage."""

    @property
    def name(self) -> str:
        """What to call it in messages."""


Item = TypeVar("Item", bound=StageItem)
Value = TypeVar("Value")


@dataclass
class LoadedBatch(Generic[Item, Value]):
    """A batch: its items, each with what was read of it."""

    items: list[tuple[Item, Value]]
    errors: dict[str, Score]
    """Of an item that cannot be read, by its key, the reason."""
    seconds: float
    """How long that took."""
    started: float = 0.0
    """When it began, in seconds of the epoch."""
    doing: str = "read"
    """What that was, in a trace."""


def load_items(
    items: Iterable[Item],
    read: Callable[[Item], Value],
    *,
    reason: Callable[[UserError], str] = lambda error: error.what,
    doing: str = "read",
) -> LoadedBatch[Item, Value]:
    """Read items; one that cannot be read costs no other its place.

    Args:
        items: Of a batch.
        read: Raises a `UserError` if it cannot.
        reason: What is kept of that.
        doing: What reading is, in a trace.
    """
    start = time.perf_counter()
    loaded = LoadedBatch[Item, Value]([], {}, 0.0, time.time(), doing)
    for item in items:
        try:
            loaded.items.append((item, read(item)))
        except UserError as error:
            loaded.errors[item.key] = Score.failed(reason(error))
    loaded.seconds = time.perf_counter() - start
    return loaded


def work_on(
    loaded: LoadedBatch[Item, Value],
    call: ModelCall[BenchmarkModelABC],
    work: Callable[[Sequence[tuple[Item, Value]]], None],
    writer: ScoreWriter,
    *,
    fitted: FittedBatches[tuple[Item, Value]] | None = None,
) -> None:
    """Do the work on a batch, bisected where it fails, and write the failures.

    Args:
        loaded: The batch.
        call: Says how long the model may take.
        work: Does the work on a part, and writes what the part comes to.
        writer: Takes what could not be read, and what fails alone.
        fitted: Knows what fits into memory; None where the work itself sees to that.

    Raises:
        RunError: The work cannot go on.
    """

    def within_time(part: Sequence[tuple[Item, Value]]) -> None:
        with call.within_time([item.name for item, _ in part]), ending_with_the_gpu():
            work(part)

    def blame(one: tuple[Item, Value], reason: str) -> None:
        writer.write({one[0].key: Score.failed(reason)})

    writer.write(loaded.errors)
    if fitted is None:
        bisect(loaded.items, within_time, blame=blame)
    else:
        fitted.work(loaded.items, within_time, blame=blame)


class GpuLostError(RunError):
    """A GPU that computes nothing more in this process."""


@contextmanager
def ending_with_the_gpu() -> Iterator[None]:
    """Do work; an error after which a GPU computes nothing more is no clip's failure.

    Raises:
        GpuLostError: There was such an error.
    """
    try:
        yield
    except RuntimeError as error:
        if is_gpu_lost(error):
            raise GpuLostError(
                f"The GPU computes nothing more: {str(error).splitlines()[0]}",
                "What was computed is kept; the same command goes on from there. If it happens again,"
                " CUDA_LAUNCH_BLOCKING=1 before the command shows where.",
            ) from error
        raise


def lacking(items: Sequence[Item], cache: EmbeddingCache) -> list[Item]:
    """Return the items that a cache has nothing of."""
    there = cache.contains_many(item.key for item in items)
    return [item for item in items if item.key not in there]


@dataclass(frozen=True)
class AudioLoader:
    """Decodes audio as an embedding model takes it."""

    cache: EmbeddingCache | None
    """What another process put there meanwhile is not decoded; None: all is."""
    sr: int
    """Hz."""
    seconds: Mapping[bool, float | None]
    """How much is decoded, of clips (False) and of references (True); None for all."""

    def __call__(self, items: Sequence[AudioItem]) -> LoadedBatch[AudioItem, Tensor]:
        """Decode a batch."""
        return load_items(self.lacking(items), self._decode, doing="decode")

    def lacking(self, items: Sequence[AudioItem]) -> list[AudioItem]:
        """Return those that are to be decoded."""
        return list(items) if self.cache is None else lacking(items, self.cache)

    def _decode(self, item: AudioItem) -> Tensor:
        return decode(item.path, self.sr, self.seconds[item.is_reference])


class EmbedAudioStage:
    """Encodes the audio that the cache lacks."""

    title = "encoding audio"
    decodes = True

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
        self._fitted = FittedBatches[tuple[AudioItem, Tensor]](model.call.model.class_name, lambda one: one[0].seconds)
        self.load = AudioLoader(
            model.cache, model.sr, {flag: view.seconds for flag, view in model.addresses.views.items()}
        )

    def pending(self) -> list[AudioItem]:
        """Return what the cache lacks."""
        return lacking(self.items, self.model.cache)

    def length(self, item: AudioItem) -> float:
        """Return the seconds that are decoded."""
        return item.seconds

    def work(self, loaded: LoadedBatch[AudioItem, Tensor], writer: ScoreWriter) -> None:
        """Encode and store."""
        self.stats.seconds["decode"] += loaded.seconds
        with self.stats.timed("encode"):
            work_on(loaded, self.model.call, self._embed, writer, fitted=self._fitted)

    def _embed(self, part: Sequence[tuple[AudioItem, Tensor]]) -> None:
        self.model.embed_audio([item for item, _ in part], {item.key: waveform for item, waveform in part})


def _load_texts(items: Sequence[TextItem]) -> LoadedBatch[TextItem, str]:
    return load_items(items, lambda item: item.text)


class EmbedTextStage:
    """Encodes the prompts and lyrics that the cache lacks."""

    title = "encoding text"
    start = 0.0
    decodes = False

    def __init__(self, items: Sequence[TextItem], model: CachedModel, stats: RunStats) -> None:
        self.items = items
        self.model = model
        self.stats = stats
        self.load = _load_texts

    def pending(self) -> list[TextItem]:
        """Return what the cache lacks."""
        return lacking(self.items, self.model.cache)

    def length(self, item: TextItem) -> float:
        """Return a length that sorts texts like their tokens do, and that no limit in seconds is meant for."""
        return len(item.text) / 1e6

    def work(self, loaded: LoadedBatch[TextItem, str], writer: ScoreWriter) -> None:
        """Encode and store."""
        with self.stats.timed("encode"):
            work_on(loaded, self.model.call, self._embed, writer)

    def _embed(self, part: Sequence[tuple[TextItem, str]]) -> None:
        self.model.embed_texts([item for item, _ in part])


Embeddings = dict[str, list[Tensor]]
"""By embedding key; one that is damaged is not among them."""


@dataclass(frozen=True)
class EmbeddingLoader:
    """Reads embeddings from the cache."""

    cache: EmbeddingCache
    failed: Callable[[], Mapping[str, str]]
    """Why embeddings could not be made in this run, by embedding key."""

    def __call__(self, items: Sequence[EmbeddingInputs]) -> LoadedBatch[EmbeddingInputs, Embeddings]:
        """Read what a batch needs, each embedding once."""
        failed = self.failed()
        found = self.cache.get_many(key for inputs in items for key in inputs.keys if key not in failed)

        def read(inputs: EmbeddingInputs) -> Embeddings:
            reasons = [failed[key] for key in inputs.keys if key in failed]
            if reasons:
                raise AudioError("; ".join(reasons))
            return {key: found[key] for key in inputs.keys if key in found}

        return load_items(items, read)


_Prompt = tuple[str, str, str]


def _prompt(request: Request) -> _Prompt:
    return request.clip.text, request.clip.lyrics, request.ref_audio.digest if request.ref_audio else ""


class HeadStage:
    """Scores clips whose audio and texts are embedded."""

    title = "scoring"
    start = 0.0
    decodes = False

    def __init__(
        self,
        inputs: Sequence[EmbeddingInputs],
        model: CachedModel,
        stats: RunStats,
        *,
        failed: Callable[[], Mapping[str, str]],
    ) -> None:
        """Take what is needed.

        Args:
            inputs: What is to be scored.
            model: Looks up embeddings, and makes anew what is damaged.
            stats: Takes times.
            failed: Returns why embeddings could not be made in this run, by embedding key.
        """
        self.model = model
        self.stats = stats
        # Side by side, those with one prompt meet in a batch, for which a model may look at the prompt once.
        self.inputs = sorted(inputs, key=lambda one: _prompt(one.request))
        self._longest: dict[_Prompt, float] = {}
        for request in (one.request for one in inputs):
            self._longest[_prompt(request)] = max(request.seconds, self._longest.get(_prompt(request), 0.0))
        self.load = EmbeddingLoader(model.cache, failed)
        self._fitted = FittedBatches[tuple[EmbeddingInputs, Embeddings]](
            model.call.model.class_name, lambda item: item[0].request.seconds
        )

    def pending(self) -> list[EmbeddingInputs]:
        """Return what nothing has answered yet."""
        return list(self.inputs)

    def length(self, item: EmbeddingInputs) -> float:
        """Return the seconds of audio of the longest request with the same prompt: the plan keeps equals together."""
        return self._longest[_prompt(item.request)]

    def work(self, loaded: LoadedBatch[EmbeddingInputs, Embeddings], writer: ScoreWriter) -> None:
        """Score."""

        def score(part: Sequence[tuple[EmbeddingInputs, Embeddings]]) -> None:
            clips = {inputs.key: self._embedded(inputs, found) for inputs, found in part}
            writer.write(self.model.score_embedded(clips))

        with self.stats.timed("head"):
            work_on(loaded, self.model.call, score, writer, fitted=self._fitted)

    def _embedded(self, inputs: EmbeddingInputs, found: Embeddings) -> EmbeddedInput:
        for item in inputs.audio_items:
            if item.key not in found:  # its entry was damaged, or pruned meanwhile
                (found[item.key],) = self.model.embed_audio([item])
        for text in (inputs.text, inputs.lyrics):
            if text.key not in found:
                found[text.key] = self.model.embed_texts([text])
        return inputs.embedded(found)


@dataclass(frozen=True)
class InputLoader:
    """Loads requests in the form in which a model takes its audio."""

    form: AudioInput
    sr: int
    """Hz; of waveforms."""
    seconds: float
    """How much is decoded, from a file's start; of waveforms."""

    def __call__(self, items: Sequence[Request]) -> LoadedBatch[Request, BenchmarkBatchInput]:
        """Decode, or hand over the paths."""
        return load_items(items, lambda item: self.input_of(item.clip), doing="decode")

    def input_of(self, clip: Clip) -> BenchmarkBatchInput:
        """Return what the model is given of a clip.

        Raises:
            AudioError: Its audio cannot be decoded.
        """
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
    decodes = True

    def __init__(self, requests: Sequence[Request], call: ModelCall[BenchmarkModelABC], stats: RunStats) -> None:
        self.requests = requests
        self.call = call
        self.stats = stats
        self.load = InputLoader(call.model.audio_input, int(call.model.sr), call.max_dur)
        self._fitted = FittedBatches[tuple[Any, BenchmarkBatchInput]](
            call.model.class_name, lambda item: _seconds(item[1], int(call.model.sr))
        )

    def pending(self) -> list[Request]:
        """Return the requests that nothing has answered yet."""
        return list(self.requests)

    def length(self, item: Request) -> float:
        """Return the seconds of audio that a request is about."""
        return item.seconds

    def work(self, loaded: LoadedBatch[Item, BenchmarkBatchInput], writer: ScoreWriter) -> None:
        """Score."""
        self.stats.seconds["decode"] += loaded.seconds
        with self.stats.timed("score"):
            work_on(
                loaded,
                self.call,
                lambda part: writer.write(self.call.score({item.key: given for item, given in part})),
                writer,
                fitted=self._fitted,
            )


def _seconds(given: BenchmarkBatchInput, sr: int) -> float:
    """Return the length of a clip and its reference; of files, whose lengths are not known here, 0."""
    return sum(len(audio) / sr for audio in (given.audio, given.ref_audio) if isinstance(audio, Tensor))
