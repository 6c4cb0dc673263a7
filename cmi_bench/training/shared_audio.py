"""Audio that several models embed: each file is decoded once, for each model at its rate and as far as it looks.

Each model embeds what it would embed alone, and fails alone: a clip that one cannot embed costs the others nothing.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from cmi_bench.audio.decode import AudioForm, decode_forms
from cmi_bench.scoring.batching import ScoreWriter
from cmi_bench.scoring.cached_model import CachedModel
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_items import AudioItem
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.stages import LoadedBatch, lacking, work_on
from cmi_bench.training.forecast import Forecast
from cmi_bench.types import Score
from cmi_bench.utils.distributed import is_rank_zero


@dataclass(frozen=True)
class SharedFile:
    """A file, and what is to be embedded of it."""

    path: Path
    items: tuple[tuple[int, AudioItem], ...]
    """The number of the model, and the item that it is to embed."""

    @property
    def seconds(self) -> float:
        """How much of it is decoded, as far as known."""
        return max(item.seconds for _, item in self.items)


def shared_files(items: Iterable[Sequence[AudioItem]]) -> list[SharedFile]:
    """Return the files of several models' items; what models with one encoder share is left to the first of them.

    Args:
        items: Of each model.
    """
    found: dict[Path, dict[str, tuple[int, AudioItem]]] = {}
    taken: set[str] = set()
    for number, own in enumerate(items):
        for item in own:
            if item.key not in taken:
                found.setdefault(item.path, {})[item.key] = (number, item)
        taken |= {item.key for item in own}
    return [SharedFile(path, tuple(of_file.values())) for path, of_file in found.items()]


@dataclass
class LoadedFiles:
    """A batch of files, decoded."""

    of_model: list[LoadedBatch[AudioItem, Tensor]]
    seconds: float
    """How long that took."""
    started: float
    """When it began, in seconds of the epoch."""
    doing: str = "decode"
    """What that was, in a trace."""

    @property
    def items(self) -> list[tuple[AudioItem, Tensor]]:
        """Of all models."""
        return [item for batch in self.of_model for item in batch.items]


@dataclass(frozen=True)
class SharedLoader:
    """Decodes each file once for all models."""

    cache: EmbeddingCache
    """What another process put there meanwhile is not decoded."""
    forms: Sequence[dict[bool, AudioForm]]
    """Of each model, how it takes clips (False) and references (True)."""

    def __call__(self, files: Sequence[SharedFile]) -> LoadedFiles:
        """Decode a batch."""
        start = time.perf_counter()
        loaded = LoadedFiles([LoadedBatch([], {}, 0.0) for _ in self.forms], 0.0, time.time())
        for file in files:
            left = {item.key for item in lacking([item for _, item in file.items], self.cache)}
            wanted = [(number, item) for number, item in file.items if item.key in left]
            forms = [self.forms[number][item.is_reference] for number, item in wanted]
            decoded = decode_forms(file.path, forms)
            for (number, item), form in zip(wanted, forms, strict=True):
                waveform = decoded[form]
                if isinstance(waveform, Tensor):
                    loaded.of_model[number].items.append((item, waveform))
                else:
                    loaded.of_model[number].errors[item.key] = Score.failed(waveform.what)
        loaded.seconds = time.perf_counter() - start
        return loaded


class SharedAudioStage:
    """Embeds the audio that the cache lacks, with each model in turn, and says how much it will come to."""

    title = "encoding audio"
    decodes = True

    def __init__(
        self,
        items: Sequence[Sequence[AudioItem]],
        models: Sequence[CachedModel],
        stats: RunStats,
        forecast: Forecast,
        *,
        start: float,
    ) -> None:
        """Take what is needed.

        Args:
            items: What is to be embedded with each model.
            models: They embed and store, all in one cache.
            stats: Takes times and counts.
            forecast: Says what it will come to, on rank 0.
            start: Where in the plan to begin, from 0 to 1.
        """
        self.items = items
        self.models = models
        self.stats = stats
        self.forecast = forecast
        self.start = start
        self.load = SharedLoader(
            models[0].cache,
            [
                {flag: AudioForm(model.sr, view.seconds) for flag, view in model.addresses.views.items()}
                for model in models
            ],
        )

    def pending(self) -> list[SharedFile]:
        """Return the files of which the cache lacks something."""
        return shared_files(lacking(own, model.cache) for own, model in zip(self.items, self.models, strict=True))

    def length(self, item: SharedFile) -> float:
        """Return the seconds that are decoded."""
        return item.seconds

    def work(self, loaded: LoadedFiles, writer: ScoreWriter) -> None:
        """Embed and store."""
        before = self.stats.counts["bytes_stored"]
        self.stats.seconds["decode"] += loaded.seconds
        for model, batch in zip(self.models, loaded.of_model, strict=True):
            with self.stats.timed("encode"):
                work_on(batch, model.call, partial(_embed, model), writer)
        done = [item for item, _ in loaded.items]
        if is_rank_zero() and done:
            self.forecast.note(done, self.stats.counts["bytes_stored"] - before)


def _embed(model: CachedModel, part: Sequence[tuple[AudioItem, Tensor]]) -> None:
    model.embed_audio([item for item, _ in part], {item.key: waveform for item, waveform in part})
