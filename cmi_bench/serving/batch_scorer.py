"""A model on a device, and what is done with the songs of a batch: decode, score, find what is to blame for a failure.

Songs are decoded and scored as `scoring.stages` does it with the clips of a run, on the same addresses: what this
machine has embedded or scored before is looked up, and what is made here is found by every later run.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.errors import RunError, UserError
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC, EmbeddingModel
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.cached_model import CachedModel
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.fitted_batches import FittedBatches
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.stages import GpuLostError, InputLoader, ending_with_the_gpu
from cmi_bench.serving.queue import SongAnswer
from cmi_bench.serving.wire import ErrorCode
from cmi_bench.types import Score

log = logging.getLogger(__name__)


class Way(Protocol):
    """One of the two ways in which models are asked: for embeddings and then for scores, or for scores at once."""

    def load(self, request: Request) -> Any:
        """Decode what a request needs; in any thread.

        Raises:
            AudioError: It cannot be decoded.
        """

    def score(self, part: Sequence[tuple[Request, Any]]) -> Mapping[str, Score]:
        """Return the scores of requests by their keys, or raise whatever the model raises."""


class WholeWay:
    """The way of a model that has `score_batch` alone."""

    def __init__(self, call: ModelCall[BenchmarkModelABC]) -> None:
        self._call = call
        self._loader = InputLoader(call.model.audio_input, int(call.model.sr), call.max_dur)

    def load(self, request: Request) -> BenchmarkBatchInput:
        """Decode, or hand over the paths."""
        return self._loader.input_of(request.clip)

    def score(self, part: Sequence[tuple[Request, BenchmarkBatchInput]]) -> Mapping[str, Score]:
        """Ask for scores."""
        return self._call.score({request.key: given for request, given in part})


class EmbeddedWay:
    """The way of an embedding model: what the cache has of audio and texts is not encoded again."""

    def __init__(self, call: ModelCall[EmbeddingModel], cache: EmbeddingCache) -> None:
        self.stats = RunStats()
        self.model = CachedModel(call, cache, self.stats)

    def load(self, request: Request) -> dict[str, Tensor]:
        """Decode the audio that the cache lacks; by its address."""
        items = {item.key: item for item in self.model.addresses.inputs_of(request).audio_items}
        views, sr = self.model.addresses.views, self.model.sr
        there = self.model.cache.contains_many(items)
        return {
            key: decode(item.path, sr, views[item.is_reference].seconds)
            for key, item in items.items()
            if key not in there
        }

    def score(self, part: Sequence[tuple[Request, dict[str, Tensor]]]) -> Mapping[str, Score]:
        """Embed what the cache lacks, each thing once, and ask for scores."""
        inputs = [self.model.addresses.inputs_of(request) for request, _ in part]
        audio = {item.key: item for one in inputs for item in one.audio_items}
        texts = {item.key: item for one in inputs for item in (one.text, one.lyrics)}
        waveforms = {key: waveform for _, loaded in part for key, waveform in loaded.items()}
        found = dict(zip(audio, self.model.embed_audio(list(audio.values()), waveforms), strict=True))
        tokens = self.model.embed_texts(list(texts.values()))
        found |= {key: [one] for key, one in zip(texts, tokens, strict=True)}
        return self.model.score_embedded({one.key: one.embedded(found) for one in inputs})


class BatchScorer:
    """A model on a device."""

    def __init__(
        self, call: ModelCall[BenchmarkModelABC], limits: BatchLimits, *, name: str, embeddings: EmbeddingCache
    ) -> None:
        """Take a model.

        Args:
            call: The model, and what it is told.
            limits: How large a batch may get; they shrink to what fits into memory.
            name: The model's on this server, for messages.
            embeddings: Where embeddings are looked up and kept.
        """
        self.call = call
        self.name = name
        self.embeddings = embeddings
        self._fitted = FittedBatches[tuple[Request, Any]](name, lambda song: song[0].seconds, limits=limits)
        is_embedded = isinstance(call.model, EmbeddingModel) and not call.score_kwargs
        self._way: Way = EmbeddedWay(call, embeddings) if is_embedded else WholeWay(call)  # type: ignore[arg-type]

    @property
    def limits(self) -> BatchLimits:
        """How large a batch may get."""
        return self._fitted.limits

    @property
    def times_out_of_memory(self) -> int:
        """How often a batch did not fit into memory."""
        return self._fitted.times_out_of_memory

    @property
    def bytes_stored(self) -> int:
        """How much this model has added to the embeddings."""
        return self._way.stats.counts["bytes_stored"] if isinstance(self._way, EmbeddedWay) else 0

    def prune(self, max_gb: float) -> None:
        """Keep the embeddings within a bound, in 10^9 bytes."""
        self.embeddings.keep_within(max_gb)

    def load(self, request: Request) -> Any:
        """Decode what a request needs; in any thread.

        Raises:
            AudioError: It cannot be decoded.
        """
        return self._way.load(request)

    def score(self, songs: Sequence[tuple[Request, Any]], tell: Callable[[Mapping[str, SongAnswer]], None]) -> None:
        """Score songs together; what fails is bisected until the song to blame is found.

        Args:
            songs: Requests, each with what was loaded for it.
            tell: Is given answers by the requests' keys, as soon as they are there.

        Raises:
            GpuLostError: Neither these songs nor others can be scored.
        """
        codes: dict[str, ErrorCode] = {}

        def work(part: Sequence[tuple[Request, Any]]) -> None:
            try:
                names = [request.name for request, _ in part]
                with torch.no_grad(), self.call.within_time(names), ending_with_the_gpu():
                    scores = self._way.score(part)
            except GpuLostError:
                raise
            except Exception as error:
                if len(part) == 1:
                    codes[part[0][0].key] = _code_of(error)
                # What ends a run (an answer in no known form, a full disk) is here the song's own failure.
                if isinstance(error, RunError):
                    raise UserError(error.what, error.hint) from error
                raise
            tell({key: _answer(score) for key, score in scores.items()})

        def blame(one: tuple[Request, Any], reason: str) -> None:
            key = one[0].key
            tell({key: SongAnswer.failed(codes.get(key, ErrorCode.MODEL_FAILED), reason)})

        self._fitted.work(songs, work, blame=blame)


def _code_of(error: Exception) -> ErrorCode:
    if isinstance(error, AudioError):
        return ErrorCode.UNREADABLE_AUDIO
    # What could not be written to the cache.
    return ErrorCode.NO_SPACE if isinstance(error.__cause__, OSError) else ErrorCode.MODEL_FAILED


def _answer(score: Score) -> SongAnswer:
    return SongAnswer(score, ErrorCode.MODEL_FAILED if score.error else None)
