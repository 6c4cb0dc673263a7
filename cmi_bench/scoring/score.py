"""Score the clips of a run: what is known is looked up, the rest is embedded and scored, each thing once."""

import logging
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from cmi_bench.config import Config, OnError
from cmi_bench.data.audio_info import AudioIndex
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkModelABC, ClipAhead, EmbeddingModel, WorkAhead
from cmi_bench.scoring.batch_check import BATCH_CHECK, BatchCheck, check_batches, choose_probes, keep_worst
from cmi_bench.scoring.batching import BatchLimits, Runner
from cmi_bench.scoring.embedding_cache import CachedModel, EmbeddingCache, claim_start
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.model_call import ModelCall, mark_partial_nan
from cmi_bench.scoring.requests import Request, ScoringPlan, deduplicate
from cmi_bench.scoring.stages import EmbedAudioStage, EmbedTextStage, HeadStage, WholeStage
from cmi_bench.scoring.store import FailureLog, FileScoreWriter, RunStats, ScoreStore, clear_stats, collect_stats
from cmi_bench.types import Clip, Score
from cmi_bench.utils.distributed import is_rank_zero, process_rank

log = logging.getLogger(__name__)


class Scored(NamedTuple):
    """What a run came to."""

    scores: dict[str, Score]
    """By clip id; on rank 0 only."""
    stats: RunStats
    """What was done and how long it took, over all ranks; on rank 0 only."""
    batch_check: BatchCheck | None = None
    """Whether scores depend on the clips beside them; None where that was not looked at. On rank 0 only."""


def score_clips(
    clips: Sequence[Clip],
    model: BenchmarkModelABC,
    runner: Runner,
    *,
    config: Config,
    index: AudioIndex,
    folder: Path,
    with_batch_check: bool = True,
) -> Scored:
    """Score clips, using what earlier runs left.

    Scores are kept as they are made; a run that was stopped at any moment and is started again does
    only what is missing. A model that says nothing of its identity has its scores kept in the run's
    own folder, so that they are used again only by a run in the same folder.

    Args:
        clips: What to score.
        model: The model, on this process's device.
        runner: Runs the stages.
        config: `max_dur`, `model.score_kwargs`, `model_timeout`, `cache.dir`, `resume` and `on_error` count here.
        index: Knows the audio files.
        folder: The run's folder.
        with_batch_check: Score a few clips again in other company; see `scoring.batch_check`.

    Raises:
        UserError: A clip could not be scored and `on_error=fail`; the disk is full; the model takes too long.
        KeyboardInterrupt: The user stopped the run.
    """
    call = ModelCall(model, config.max_dur, config.model.get("score_kwargs") or {}, config.model_timeout)
    stop_on_failure = config.on_error is OnError.fail
    store = ScoreStore(_store_folder(model.identity, config, folder))
    failures, stats = FailureLog(folder, process_rank()), RunStats()
    plan, missing = ScoringPlan([], {}, {}), list[Request]()
    if is_rank_zero():
        _clear(folder, failures, store, resume=config.resume)
        plan = deduplicate(clips, call, index)
        missing = _missing(plan, store)
    # A single process that has nothing to do is done; of several, the others wait for rank 0's word.
    if missing or runner.processes > 1:
        writer = FileScoreWriter(store, failures, stop_on_failure=stop_on_failure)
        _Scoring(call, runner, config, writer, stats).score(missing)
    stats.write(folder, process_rank())
    runner.wait("all scores are stored")
    if not is_rank_zero():
        return Scored({}, stats)
    stored = store.lookup(request.key for request in plan.requests)
    scores = _by_clip(clips, plan, stored, failures.read(), stop_on_failure=stop_on_failure)
    summed = _summed(folder, plan, missing, scores)
    if not with_batch_check or model.is_remote or not model.is_deterministic:
        return Scored(scores, summed)
    found = _check_batches(missing, stored, call, summed, config=config, folder=folder)
    return Scored(
        scores, summed, keep_worst(store.folder / BATCH_CHECK, found, model=f"{model.class_name} {model.identity}")
    )


def _check_batches(
    missing: Sequence[Request],
    known: Mapping[str, Score],
    call: ModelCall[BenchmarkModelABC],
    stats: RunStats,
    *,
    config: Config,
    folder: Path,
) -> BatchCheck | None:
    """Score a few of the clips that were scored in this run again, in other company.

    Audio that an embedding model encoded is encoded again; where it was all in the cache, only the head is looked at.
    """
    scored = [request for request in missing if request.key in known]
    probes = choose_probes(scored, items=config.batch_size, seconds=config.batch_seconds)

    def rescore(requests: Sequence[Request]) -> Mapping[str, Score]:
        again = folder / "batch_check"
        writer = FileScoreWriter(ScoreStore(again), FailureLog(again, process_rank()), stop_on_failure=False)
        runner = LocalRunner(BatchLimits(len(requests), math.inf), workers=0, show_progress=False)
        options = replace(config, cache=replace(config.cache, dir=None)) if stats.counts["chunks_encoded"] else config
        again.mkdir(parents=True, exist_ok=True)
        try:
            _Scoring(call, runner, options, writer, RunStats()).score(requests)
            return {key: Score.failed(reason) for key, reason in writer.failures.read().items()} | writer.store.lookup(
                request.key for request in requests
            )
        finally:
            shutil.rmtree(again, ignore_errors=True)

    return check_batches(probes, known, rescore, run_batches_of_one=config.batch_size == 1)


@dataclass(frozen=True)
class _Scoring:
    """What requests are scored with; its methods return on all ranks when all are done."""

    call: ModelCall[BenchmarkModelABC]
    runner: Runner
    config: Config
    writer: FileScoreWriter
    stats: RunStats

    def score(self, missing: Sequence[Request]) -> None:
        """Score requests in the way of the model."""
        if isinstance(self.call.model, EmbeddingModel) and not self.call.score_kwargs:
            embedding = ModelCall(self.call.model, self.call.max_dur, timeout=self.call.timeout)
            self._score_embedded(missing, embedding)
        else:
            self._score_whole(missing)

    def _score_whole(self, missing: Sequence[Request]) -> None:
        """Score requests with `score_batch`."""
        stage, model = WholeStage(missing, self.call, self.stats), self.call.model
        if model.clips_at_once is None:
            self.runner.run(stage, self.writer)
            return
        ahead = [
            ClipAhead(one.clip, one.audio.seconds, one.ref_audio.seconds if one.ref_audio else None) for one in missing
        ]
        folder = self.writer.store.folder
        model.prepare(WorkAhead(ahead, self.call.max_dur, folder, self.runner.processes, self.config.resume))
        try:
            # It waits rather than to compute here: neither memory nor seconds of audio are a bound.
            self.runner.run(stage, self.writer, limits=BatchLimits(model.clips_at_once, math.inf))
        finally:
            model.finish()

    def _score_embedded(self, missing: Sequence[Request], call: ModelCall[EmbeddingModel]) -> None:
        """Embed what requests need, then score them."""
        with ExitStack() as stack:
            cached = CachedModel(call, EmbeddingCache(_cache_folder(self.config, self.writer, stack)), self.stats)
            inputs = [cached.addresses.inputs_of(request) for request in missing]
            audio = {item.key: item for one in inputs for item in one.audio_items}
            texts = {item.key: item for one in inputs for item in (one.text, one.lyrics)}
            self.stats.counts["chunks_needed"] = sum(item.chunks for item in audio.values())
            start = 0.0
            if self.config.cache.dir and is_rank_zero():
                start = stack.enter_context(claim_start(cached.cache.folder))
            self.runner.run(EmbedAudioStage(list(audio.values()), cached, self.stats, start=start), self.writer)
            self.runner.run(EmbedTextStage(list(texts.values()), cached, self.stats), self.writer)
            self.runner.run(HeadStage(inputs, cached, self.stats, failed=self.writer.failures.read), self.writer)


def _cache_folder(config: Config, writer: FileScoreWriter, stack: ExitStack) -> Path:
    if config.cache.dir:
        return Path(config.cache.dir) / "embeddings"
    # Ranks pass embeddings to each other through files in any case; without a cache they go with the run.
    folder = writer.failures.folder / "embeddings"
    if is_rank_zero():
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _store_folder(identity: str | None, config: Config, folder: Path) -> Path:
    if identity is None or not config.cache.dir:
        return folder / "scores"
    return Path(config.cache.dir) / "scores" / identity


def _clear(folder: Path, failures: FailureLog, store: ScoreStore, *, resume: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    failures.clear()
    clear_stats(folder)
    if not resume:
        store.clear()
        (store.folder / BATCH_CHECK).unlink(missing_ok=True)


def _missing(plan: ScoringPlan, store: ScoreStore) -> list[Request]:
    """Return the requests of a plan that the store does not answer."""
    known = store.lookup(request.key for request in plan.requests)
    missing = [request for request in plan.requests if request.key not in known]
    changed = sum(request.key in store.unverified for request in missing)
    if changed:
        log.warning("%d stored scores in %s are not as they were written, and are made again.", changed, store.folder)
    return missing


def _by_clip(
    clips: Sequence[Clip],
    plan: ScoringPlan,
    stored: Mapping[str, Score],
    failures: Mapping[str, str],
    *,
    stop_on_failure: bool,
) -> dict[str, Score]:
    """Give each clip its answer.

    Raises:
        UserError: A clip has none; under `stop_on_failure`, with the reason of the first one that failed.
    """
    scores = {clip.clip_id: _answer_to(clip, plan, stored, failures) for clip in clips}
    found = {key: score for key, score in scores.items() if score is not None}
    if stop_on_failure:
        _raise_first_failure(clips, found)
    check_complete(found, scores)
    marked = mark_partial_nan(found)
    if stop_on_failure:
        _raise_first_failure(clips, marked)
    return marked


def _answer_to(clip: Clip, plan: ScoringPlan, stored: Mapping[str, Score], failures: Mapping[str, str]) -> Score | None:
    if clip.clip_id in plan.unreadable:
        return Score.failed(plan.unreadable[clip.clip_id])
    key = plan.key_of[clip.clip_id]
    if key in stored:
        return stored[key]
    return Score.failed(failures[key]) if key in failures else None


def _raise_first_failure(clips: Sequence[Clip], scores: Mapping[str, Score]) -> None:
    for clip in clips:
        score = scores.get(clip.clip_id)
        if score is not None and score.error:
            raise UserError(
                f"{_describe_clip(clip)}: {score.error}",
                "Fix the file or the model, or use on_error=record to mark such clips and go on. The scores made so"
                " far are kept; run the same command again to go on from here.",
            )


def _describe_clip(clip: Clip) -> str:
    line, side = clip.clip_id.split(":")
    return f"row {line}, clip {side.upper()} ({clip.audio})"


def check_complete(scores: Iterable[str], planned: Iterable[str]) -> None:
    """Make sure that each planned clip has an answer.

    Raises:
        UserError: Clips have none; names the first few.
    """
    lacking = sorted(set(planned) - set(scores))
    if lacking:
        first = ", ".join(lacking[:3])
        raise UserError(
            f"{len(lacking)} clips were not scored (first: {first}).",
            "A process may have died, or trainer.limit_predict_batches is set; run the same command again to go on.",
        )


def _summed(folder: Path, plan: ScoringPlan, missing: Sequence[Request], scores: Mapping[str, Score]) -> RunStats:
    """Add up what all ranks did, in the words of `metadata.json`."""
    total = collect_stats(folder)
    counts, new = total.counts, {request.key for request in missing}
    audio = [facts.digest for request in plan.requests for facts in (request.audio, request.ref_audio) if facts]
    n_failed = sum(bool(score.error) for score in scores.values())
    total.counts = Counter(
        clips=len(scores),
        unique_clips=len(plan.requests),
        unique_audio=len(set(audio)),
        chunks_encoded=counts["chunks_encoded"],
        chunks_from_cache=max(counts["chunks_needed"] - counts["chunks_encoded"], 0),
        texts_encoded=counts["texts_encoded"],
        scored=len(scores) - n_failed,
        from_store=sum(key not in new for key in plan.key_of.values()),
        failed=n_failed,
    )
    return total
