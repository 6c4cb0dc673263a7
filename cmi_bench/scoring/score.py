"""Score the clips of a run: what is known is looked up, the rest is embedded and scored, each thing once.

Answer requests with the stages that a model's kind needs.

How clips are scored, whatever the model.
"""

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.errors import UserError
from cmi_bench.models.base import ClipAhead, EmbeddingModel, RemoteModel, RewardModel, WorkAhead
from cmi_bench.scoring.batching import BatchLimits, Runner
from cmi_bench.scoring.embedding_cache import EmbeddingCache, place_among_fillers
from cmi_bench.scoring.requests import (
    AudioIndex,
    EmbeddingKeys,
    Question,
    Request,
    ScoringPlan,
    deduplicate,
    mark_partial_nan,
)
from cmi_bench.scoring.stages import EmbedAudioStage, EmbedTextStage, HeadStage, WholeStage
from cmi_bench.scoring.store import (
    STOPPED,
    FailureLog,
    RunStats,
    ScoreStore,
    ScoreWriter,
    clear_stats,
    collect_stats,
)
from cmi_bench.types import Clip, Score
from cmi_bench.utils.distributed import is_rank_zero, process_rank


@dataclass(frozen=True)
class ScoreSettings:
    """What a run decides about scoring."""

    max_dur: float
    """Seconds of a clip that are looked at, from its start."""
    score_kwargs: Mapping[str, Any]
    """Passed on to the model's `score_batch`."""
    cache_dir: Path | None
    """Where embeddings and scores are kept from run to run; None keeps them for this run only."""
    resume: bool
    """Whether scores that are stored already are used."""
    stop_on_failure: bool
    """A clip that cannot be scored ends the run; otherwise it is recorded and passed over."""


def answer(
    missing: Sequence[Request],
    model: RewardModel,
    runner: Runner,
    *,
    settings: ScoreSettings,
    writer: ScoreWriter,
    stats: RunStats,
) -> None:
    """Answer requests, by the stages that the model's kind needs; returns on all ranks when all are done.

    Args:
        missing: The requests, on rank 0; the other ranks are told by it.
        model: On this process's device.
        runner: Runs the stages.
        settings: How to score.
        writer: Takes scores and failures.
        stats: Takes counts and times.
    """
    if isinstance(model, EmbeddingModel) and not settings.score_kwargs:
        _answer_from_embeddings(missing, model, runner, settings=settings, writer=writer, stats=stats)
        return
    stage = WholeStage(
        missing, model, max_dur=settings.max_dur, score_kwargs=settings.score_kwargs, writer=writer, stats=stats
    )
    if not isinstance(model, RemoteModel):
        runner.run(stage)
        return
    model.prepare(_ahead(missing, settings, writer, processes=runner.processes))
    try:
        # It waits rather than to compute here: neither memory nor seconds of audio are a bound.
        runner.run(stage, limits=BatchLimits(model.clips_at_once, math.inf))
    finally:
        model.finish()


def _ahead(missing: Sequence[Request], settings: ScoreSettings, writer: ScoreWriter, *, processes: int) -> WorkAhead:
    clips = [
        ClipAhead(
            request.clip,
            seconds=request.audio.seconds,
            ref_seconds=request.ref_audio.seconds if request.ref_audio else None,
        )
        for request in missing
    ]
    return WorkAhead(clips, settings.max_dur, writer.store.folder, processes, settings.resume)


def _answer_from_embeddings(
    missing: Sequence[Request],
    model: EmbeddingModel,
    runner: Runner,
    *,
    settings: ScoreSettings,
    writer: ScoreWriter,
    stats: RunStats,
) -> None:
    with ExitStack() as stack:
        cache = EmbeddingCache(_cache_folder(settings, writer, stack))
        keys = EmbeddingKeys(model, settings.max_dur)
        needs = [keys.needs(request) for request in missing]
        audio = {item.key: item for need in needs for item in need.audio_items}
        texts = {item.key: item for need in needs for item in (need.text, need.lyrics)}
        failures = writer.failures
        stats.counts["chunks_needed"] = sum(item.chunks for item in audio.values())
        stage = EmbedAudioStage(
            list(audio.values()), model, cache, max_dur=settings.max_dur, failures=failures, stats=stats
        )
        if settings.cache_dir is not None and is_rank_zero():
            stage.start = stack.enter_context(place_among_fillers(cache.folder))
        runner.run(stage)
        runner.run(EmbedTextStage(list(texts.values()), model, cache, failures=failures, stats=stats))
        runner.run(HeadStage(missing, model, keys, cache=cache, writer=writer, stats=stats))


def _cache_folder(settings: ScoreSettings, writer: ScoreWriter, stack: ExitStack) -> Path:
    if settings.cache_dir is not None:
        return settings.cache_dir / "embeddings"
    # Ranks pass embeddings to each other through files in any case; without a cache they go with the run.
    folder = writer.failures.folder / "embeddings"
    if is_rank_zero():
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Scored(NamedTuple):
    """What a run came to."""

    scores: dict[str, Score]
    """By clip id; on rank 0 only."""
    stats: RunStats
    """What was done and how long it took, over all ranks; on rank 0 only."""


def score_clips(
    clips: Sequence[Clip],
    model: RewardModel,
    runner: Runner,
    *,
    settings: ScoreSettings,
    index: AudioIndex,
    folder: Path,
) -> Scored:
    """Score clips, using what earlier runs left.

    Scores are kept as they are made; a run that was stopped at any moment and is started again does
    only what is missing. A model that says nothing of its identity has its scores kept in the run's
    own folder, so that they are used again only by a run in the same folder.

    Args:
        clips: What to score.
        model: The model, on this process's device.
        runner: Runs the stages.
        settings: How to score.
        index: Knows the audio files.
        folder: The run's folder.

    Raises:
        UserError: A clip could not be scored and `stop_on_failure` is set; the disk is full.
        KeyboardInterrupt: The user stopped the run.
    """
    identity = getattr(model, "identity", None)
    store = ScoreStore(_store_folder(identity, settings, folder))
    failures, stats = FailureLog(folder, process_rank()), RunStats()
    asked, missing = ScoringPlan([], {}, {}), list[Request]()
    if is_rank_zero():
        _clear(folder, failures, store, resume=settings.resume)
        question = Question(
            identity or "",
            settings.max_dur,
            settings.score_kwargs,
            by_row=identity is None,
            unused_inputs=frozenset(getattr(model, "unused_inputs", ())),
        )
        asked = deduplicate(clips, question, index)
        known = store.read()
        missing = [request for request in asked.requests if request.key not in known]
    # A single process that has nothing to do is done; of several, the others wait for rank 0's word.
    if missing or runner.processes > 1:
        answer(missing, model, runner, settings=settings, writer=ScoreWriter(store, failures), stats=stats)
    stats.write(folder, process_rank())
    runner.wait("all scores are stored")
    if not is_rank_zero():
        return Scored({}, stats)
    scores = _by_clip(clips, asked, store.read(), failures.read(), stop_on_failure=settings.stop_on_failure)
    return Scored(scores, _summed(folder, asked, missing, scores))


def _store_folder(identity: str | None, settings: ScoreSettings, folder: Path) -> Path:
    if identity is None or settings.cache_dir is None:
        return folder / "scores"
    return settings.cache_dir / "scores" / identity


def _clear(folder: Path, failures: FailureLog, store: ScoreStore, *, resume: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STOPPED).unlink(missing_ok=True)
    failures.clear()
    clear_stats(folder)
    if not resume:
        store.clear()


def _by_clip(
    clips: Sequence[Clip],
    asked: ScoringPlan,
    stored: Mapping[str, Score],
    failures: Mapping[str, str],
    *,
    stop_on_failure: bool,
) -> dict[str, Score]:
    """Give each clip its answer.

    Raises:
        UserError: A clip has none; under `stop_on_failure`, with the reason of the first one that failed.
    """
    scores = {clip.clip_id: _answer_to(clip, asked, stored, failures) for clip in clips}
    found = {key: score for key, score in scores.items() if score is not None}
    if stop_on_failure:
        _raise_first_failure(clips, found)
    check_complete(found, scores)
    marked = mark_partial_nan(found)
    if stop_on_failure:
        _raise_first_failure(clips, marked)
    return marked


def _answer_to(
    clip: Clip, asked: ScoringPlan, stored: Mapping[str, Score], failures: Mapping[str, str]
) -> Score | None:
    if clip.clip_id in asked.unreadable:
        return Score.failed(asked.unreadable[clip.clip_id])
    key = asked.key_of[clip.clip_id]
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


def _summed(folder: Path, asked: ScoringPlan, missing: Sequence[Request], scores: Mapping[str, Score]) -> RunStats:
    """Add up what all ranks did, in the words of `metadata.json`."""
    total = collect_stats(folder)
    counts, new = total.counts, {request.key for request in missing}
    audio = [facts.digest for request in asked.requests for facts in (request.audio, request.ref_audio) if facts]
    n_failed = sum(bool(score.error) for score in scores.values())
    total.counts = Counter(
        clips=len(scores),
        unique_clips=len(asked.requests),
        unique_audio=len(set(audio)),
        chunks_encoded=counts["chunks_encoded"],
        chunks_from_cache=max(counts["chunks_needed"] - counts["chunks_encoded"], 0),
        texts_encoded=counts["texts_encoded"],
        scored=len(scores) - n_failed,
        from_store=sum(key not in new for key in asked.key_of.values()),
        failed=n_failed,
    )
    return total
