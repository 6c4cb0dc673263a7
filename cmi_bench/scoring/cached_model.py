"""A model that looks for embeddings in the cache before it encodes: it has a model's methods, encodes nothing twice."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode, is_finite
from cmi_bench.models.base import EmbeddedInput, EmbeddingModel
from cmi_bench.models.transfers import Moment, moment_on
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_items import AudioItem, EmbeddingAddresses, KeptForm, TextItem
from cmi_bench.scoring.embedding_writer import INSTEAD, EmbeddingWriter
from cmi_bench.scoring.model_call import ModelCall, read_answer
from cmi_bench.scoring.run_stats import AUDIO, DEVICE, RunStats
from cmi_bench.types import Score
from cmi_bench.utils.files import writing_to

HALF_ERROR = 2**-10
"""Share of an embedding's norm that may be lost by its rounding to float16, which in its range loses 2^-11 at most."""


MOMENTS = 256
"""Calls whose times are not counted yet, at most."""


class CachedModel:
    """An embedding model that looks up before it encodes, and stores what it encodes.

    Its methods are those of `EmbeddingModel`, but audio is named by its file (`AudioItem`): of a file whose embedding
    is stored, nothing is decoded.
    """

    def __init__(self, call: ModelCall[EmbeddingModel], cache: EmbeddingCache, stats: RunStats) -> None:
        """Wrap a model.

        Args:
            call: The model, on this process's device, and what it is told.
            cache: Where embeddings are looked up and stored.
            stats: Counts what is encoded.
        """
        self.call = call
        self.cache = cache
        self.sr = int(call.model.sr)
        self.addresses = EmbeddingAddresses.of(call.model, call.max_dur)
        self.stats = stats
        self._writer = EmbeddingWriter(cache, stats)
        self._encoded: list[tuple[Moment, Moment, float]] = []
        """When each call began and ended, and how many seconds of audio it took."""
        self._is_warm = False
        self._device = torch.device("cpu")
        """Where embeddings come from, as far as they tell."""

    def embed_audio(
        self, items: Sequence[AudioItem], waveforms: Mapping[str, Tensor] | None = None
    ) -> list[list[Tensor]]:
        """Return of each file its windows' frames [time, dim]: from the cache, or encoded and stored.

        Args:
            items: The files.
            waveforms: Those that are decoded already, by key; the others are decoded where that is needed.

        Raises:
            AudioError: A file cannot be decoded.
            RunError: The disk is full.
        """
        self._writer.check()
        decoded = waveforms or {}
        found = self.cache.get_many(item.key for item in items)
        for is_reference in (False, True):
            lacking = [item for item in items if item.is_reference is is_reference and item.key not in found]
            if not lacking:
                continue
            audio = [
                decoded[item.key]
                if item.key in decoded
                else decode(item.path, self.sr, self.addresses.views[is_reference].seconds)
                for item in lacking
            ]
            embedded = self._encode(audio, is_reference=is_reference)
            found |= self._stored(lacking, embedded)
            self.stats.counts["files_encoded"] += len(lacking)
            self.stats.counts["chunks_encoded"] += sum(item.chunks for item in lacking)
        return [found[item.key] for item in items]

    def _encode(self, audio: Sequence[Tensor], *, is_reference: bool) -> list[list[Tensor]]:
        start = moment_on(self._device)
        embedded = self.call.model.embed_audio(audio, self.call.max_dur, is_reference=is_reference)
        if self._is_warm:
            self._encoded.append((start, moment_on(self._device), sum(map(len, audio)) / self.sr))
        self._device = next((tensor.device for windows in embedded for tensor in windows), self._device)
        self._is_warm = True
        if len(self._encoded) > MOMENTS:
            self._note_times()
        return embedded

    def _note_times(self) -> None:
        """Count the times of calls that are over; a GPU may have to be waited for."""
        for start, end, audio in self._encoded:
            self.stats.seconds[DEVICE] += start.seconds_to(end)
            self.stats.seconds[AUDIO] += audio
        self._encoded.clear()

    def embed_texts(self, items: Sequence[TextItem]) -> list[Tensor]:
        """Return of each text its tokens [tokens, dim]: from the cache, or encoded and stored.

        Raises:
            RunError: The disk is full.
        """
        found = self.cache.get_many(item.key for item in items)
        lacking = [item for item in items if item.key not in found]
        if lacking:
            embedded = self.call.model.embed_texts([item.text for item in lacking])
            found |= self._stored(lacking, [[tokens] for tokens in embedded])
            self.stats.counts["texts_encoded"] += len(lacking)
        return [found[item.key][0] for item in items]

    def pool_stored(self, items: Sequence[AudioItem | TextItem]) -> None:
        """Make the items' forms of what is stored under their keys; what is damaged there is passed over.

        Raises:
            AudioError: See `embed_audio`.
            RunError: The disk is full.
        """
        for item in items:
            if (tensors := self.cache.get(item.key)) is not None:
                self._stored([item], [tensors])
                self.stats.counts["pooled"] += 1

    def _stored(
        self, items: Sequence[AudioItem | TextItem], embedded: Sequence[Sequence[Tensor]]
    ) -> dict[str, list[Tensor]]:
        """Store embeddings in the forms that are asked for; return them as they are.

        Raises:
            AudioError: Of an item, numbers that no head could be trained on; the others are stored.
        """
        made = {item.key: list(tensors) for item, tensors in zip(items, embedded, strict=True)}
        self._writer.store({item.key: made[item.key] for item in items if not item.forms})
        self._store_forms([(item, made[item.key]) for item in items if item.forms])
        return made

    def _store_forms(self, embedded: Sequence[tuple[AudioItem | TextItem, Sequence[Tensor]]]) -> None:
        broken = None
        with self.stats.timed("write"), writing_to(self.cache.folder, instead=INSTEAD):
            for item, tensors in embedded:
                if not all(map(is_finite, tensors)):
                    broken = item
                    continue
                for form in item.forms:
                    size = self.cache.put(form.key, [self._formed(tensor, form) for tensor in tensors])
                    self.stats.counts["bytes_stored"] += size
        if broken is not None:
            raise AudioError(f"The embedding of {broken.name} holds NaN or infinite numbers.", "Does its audio?")

    def finish(self) -> None:
        """Return when all that was encoded is stored, and timed.

        Raises:
            RunError: The disk is full.
        """
        self._writer.wait()
        self._note_times()

    def close(self) -> None:
        """Let what was encoded be stored, also where the run ends early."""
        self._writer.close()

    def _formed(self, tensor: Tensor, form: KeptForm) -> Tensor:
        if form.kind is None:
            return tensor
        pooled = self.call.model.pool(tensor, form.kind).float()
        half = pooled.half()
        if is_finite(half) and (half - pooled).norm() <= HALF_ERROR * pooled.norm():
            return half
        self.stats.counts["kept_in_float32"] += 1  # of values beyond its range float16 makes infinity or zero
        return pooled

    def score_embedded(self, clips: Mapping[str, EmbeddedInput]) -> dict[str, Score]:
        """Score embedded clips, by their requests' keys; see `ModelCall.score`."""
        answer = self.call.model.score_embedded(list(clips.values()))
        return read_answer(list(clips), answer, self.call.model.class_name)
