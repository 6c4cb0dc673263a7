"""Embedding what a run needs and the cache lacks: each piece of audio and each text once."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.inference.embedding_cache import EmbeddingCache
from cmi_bench.inference.embedding_keys import AudioItem, TextItem
from cmi_bench.inference.failures import FailureLog
from cmi_bench.inference.halves import in_halves
from cmi_bench.inference.storage import writing_to
from cmi_bench.inference.tally import Tally
from cmi_bench.models.contract import EmbeddingModel


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
        tally: Tally,
    ) -> None:
        self.items: Sequence[Item] = items
        self.model = model
        self.cache = cache
        self.failures = failures
        self.tally = tally
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
        tally: Tally,
    ) -> None:
        super().__init__(items, model, cache, failures=failures, tally=tally)
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
            self.tally.seconds["wait"] += time.perf_counter() - self._idle_since
        self.tally.seconds["decode"] += loaded.seconds
        failed = dict(loaded.errors)
        lacking = [pair for pair in loaded.waveforms if pair[0].key not in self.cache]
        with self.tally.timed("encode"):
            for is_reference in (False, True):
                in_halves(
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
        self.tally.counts["chunks_encoded"] += sum(item.chunks for item in items)


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
        with self.tally.timed("encode"):
            in_halves(lacking, self._embed, blame=lambda item, reason: failed.update({item.key: reason}))
        return self._record(failed)

    def _embed(self, part: Sequence[TextItem]) -> None:
        embedded = self.model.embed_texts([item.text for item in part])
        self._put((item, [tokens]) for item, tokens in zip(part, embedded, strict=True))
        self.tally.counts["texts_encoded"] += len(part)
