"""Score requests in the way of the model: embed what they need and score that, or ask `score_batch`."""

import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from cmi_bench.config import Config
from cmi_bench.models.base import BenchmarkModelABC, ClipAhead, EmbeddingModel, WorkAhead
from cmi_bench.scoring.batching import BatchLimits, Runner
from cmi_bench.scoring.cached_model import CachedModel
from cmi_bench.scoring.embedding_cache import EmbeddingCache, claim_start, open_embeddings
from cmi_bench.scoring.key_set import KeySet
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.stages import EmbedAudioStage, EmbedTextStage, HeadStage, WholeStage
from cmi_bench.scoring.store import FileScoreWriter
from cmi_bench.utils.addresses import below, place_of
from cmi_bench.utils.console import share_of_part
from cmi_bench.utils.distributed import is_rank_zero

if TYPE_CHECKING:
    from typing import Self


SHARE_OF_AUDIO, SHARE_OF_REST = 0.9, 0.05
"""What of the progress of embedding and scoring is that of embedding audio, and that of each of the others."""


class RequestScorer:
    """Scores requests, as often as it is asked; its methods return on all ranks when all are done.

    A context manager: embeddings that go with the run, and a model that was prepared, are let go at the end.
    """

    def __init__(
        self,
        call: ModelCall[BenchmarkModelABC],
        runner: Runner,
        *,
        config: Config,
        writer: FileScoreWriter,
        stats: RunStats,
    ) -> None:
        """Take what is needed.

        Args:
            call: The model, and what it is told.
            runner: Runs the stages.
            config: `cache.dir` and `resume` count here.
            writer: Takes scores and failures.
            stats: Takes counts and times.
        """
        self.call = call
        self.runner = runner
        self.config = config
        self.writer = writer
        self.stats = stats
        self._at_end = ExitStack()
        self._at_end.callback(writer.store.release)
        if is_rank_zero() and not config.cache.dir:
            # Even where nothing is encoded: a run that was killed has left them.
            self._at_end.callback(shutil.rmtree, self._own_embeddings, ignore_errors=True)
        self._audio_needed = KeySet()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._at_end.close()

    @property
    def wants_all_ahead(self) -> bool:
        """Whether the model is to be told of all the work before any of it begins; see `prepare`."""
        return self.call.model.clips_at_once is not None and self._embedding is None

    def prepare(self, ahead: Sequence[ClipAhead]) -> None:
        """Tell the model of all the work, on all ranks.

        Args:
            ahead: The clips, on rank 0.

        Raises:
            RunError: The model does not want to.
        """
        if ahead or self.runner.processes > 1:
            folder, resume = self.writer.store.folder, self.config.resume
            self.call.model.prepare(WorkAhead(ahead, self.call.max_dur, folder, self.runner.processes, resume))
            self._at_end.callback(self.call.model.finish)

    def score(self, missing: Sequence[Request]) -> None:
        """Score requests.

        Args:
            missing: What to score, on rank 0.
        """
        if self._embedding is not None:
            self._score_embedded(missing, self._embedding)
        else:
            self._score_whole(missing)

    def _score_whole(self, missing: Sequence[Request]) -> None:
        """Score requests with `score_batch`."""
        at_once = self.call.model.clips_at_once
        # A model that says how many waits rather than to compute here: neither memory nor seconds of audio are a bound.
        limits = None if at_once is None else BatchLimits(at_once, math.inf)
        self.runner.run(WholeStage(missing, self.call, self.stats), self.writer, limits=limits)

    @cached_property
    def _embedding(self) -> CachedModel | None:
        """The model with its cache, where it is scored from embeddings."""
        model = self.call.model
        if not isinstance(model, EmbeddingModel) or self.call.score_kwargs:
            return None
        call = ModelCall(model, self.call.max_dur, timeout=self.call.timeout)
        cache = self._cache()
        self._at_end.callback(cache.release)
        cached = CachedModel(call, cache, self.stats)
        self._at_end.callback(cached.close)
        return cached

    def _cache(self) -> EmbeddingCache:
        if self.config.cache.dir:
            return open_embeddings(below(place_of(self.config.cache.dir), "embeddings"))
        return EmbeddingCache(self._own_embeddings)

    @property
    def _own_embeddings(self) -> Path:
        """Where embeddings are without a cache: ranks pass them to each other through files in any case."""
        return self.writer.failures.folder / "embeddings"

    def _score_embedded(self, missing: Sequence[Request], cached: CachedModel) -> None:
        """Embed what requests need, then score them."""
        inputs = [cached.addresses.inputs_of(request) for request in missing]
        audio = {item.key: item for one in inputs for item in one.audio_items}
        texts = {item.key: item for one in inputs for item in (one.text, one.lyrics)}
        is_new = self._audio_needed.add(list(audio))
        chunks = (item.chunks for item, new in zip(audio.values(), is_new, strict=True) if new)
        self.stats.counts["chunks_needed"] += sum(chunks)
        with ExitStack() as stack:
            start = 0.0
            if self.config.cache.dir and is_rank_zero():
                start = stack.enter_context(claim_start(cached.cache.folder))
            stages = (
                (EmbedAudioStage(list(audio.values()), cached, self.stats, start=start), SHARE_OF_AUDIO),
                (EmbedTextStage(list(texts.values()), cached, self.stats), SHARE_OF_REST),
                (HeadStage(inputs, cached, self.stats, failed=self.writer.failures.read), SHARE_OF_REST),
            )
            for stage, share in stages:
                with share_of_part(share):
                    self.runner.run(stage, self.writer)
                cached.finish()
                self.runner.wait("what was encoded is stored")
