"""Answer requests with the stages that a model's kind needs."""

import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cmi_bench.inference.embed_stages import EmbedAudioStage, EmbedTextStage
from cmi_bench.inference.embedding_cache import EmbeddingCache
from cmi_bench.inference.embedding_keys import EmbeddingKeys
from cmi_bench.inference.fillers import place_among_fillers
from cmi_bench.inference.head_stage import HeadStage
from cmi_bench.inference.keeper import Keeper
from cmi_bench.inference.plan import BatchLimits
from cmi_bench.inference.requests import Request
from cmi_bench.inference.runner import Runner
from cmi_bench.inference.settings import ScoreSettings
from cmi_bench.inference.tally import Tally
from cmi_bench.inference.whole_stage import WholeStage
from cmi_bench.models.contract import EmbeddingModel, RewardModel
from cmi_bench.models.remote import ClipAhead, RemoteModel, WorkAhead
from cmi_bench.ranks import is_rank_zero


def answer(
    missing: Sequence[Request],
    model: RewardModel,
    runner: Runner,
    *,
    settings: ScoreSettings,
    keeper: Keeper,
    tally: Tally,
) -> None:
    """Answer requests, by the stages that the model's kind needs; returns on all ranks when all are done.

    Args:
        missing: The requests, on rank 0; the other ranks are told by it.
        model: On this process's device.
        runner: Runs the stages.
        settings: How to score.
        keeper: Takes scores and failures.
        tally: Takes counts and times.
    """
    if isinstance(model, EmbeddingModel) and not settings.score_kwargs:
        _answer_from_embeddings(missing, model, runner, settings=settings, keeper=keeper, tally=tally)
        return
    stage = WholeStage(
        missing, model, max_dur=settings.max_dur, score_kwargs=settings.score_kwargs, keeper=keeper, tally=tally
    )
    if not isinstance(model, RemoteModel):
        runner.run(stage)
        return
    model.prepare(_ahead(missing, settings, keeper, processes=runner.processes))
    try:
        # It waits rather than to compute here: neither memory nor seconds of audio are a bound.
        runner.run(stage, limits=BatchLimits(model.clips_at_once, math.inf))
    finally:
        model.finish()


def _ahead(missing: Sequence[Request], settings: ScoreSettings, keeper: Keeper, *, processes: int) -> WorkAhead:
    clips = [
        ClipAhead(
            audio=request.clip.audio,
            text=request.clip.text,
            lyrics=request.clip.lyrics,
            ref_audio=request.clip.ref_audio,
            seconds=request.audio.seconds,
            ref_seconds=request.ref_audio.seconds if request.ref_audio else None,
        )
        for request in missing
    ]
    return WorkAhead(clips, settings.max_dur, keeper.store.folder, processes, settings.resume)


def _answer_from_embeddings(
    missing: Sequence[Request],
    model: EmbeddingModel,
    runner: Runner,
    *,
    settings: ScoreSettings,
    keeper: Keeper,
    tally: Tally,
) -> None:
    with ExitStack() as stack:
        cache = EmbeddingCache(_cache_folder(settings, keeper, stack))
        keys = EmbeddingKeys(model, settings.max_dur)
        needs = [keys.needs(request) for request in missing]
        audio = {item.key: item for need in needs for item in need.audio_items}
        texts = {item.key: item for need in needs for item in (need.text, need.lyrics)}
        failures = keeper.failures
        tally.counts["chunks_needed"] = sum(item.chunks for item in audio.values())
        stage = EmbedAudioStage(
            list(audio.values()), model, cache, max_dur=settings.max_dur, failures=failures, tally=tally
        )
        if settings.cache_dir is not None and is_rank_zero():
            stage.start = stack.enter_context(place_among_fillers(cache.folder))
        runner.run(stage)
        runner.run(EmbedTextStage(list(texts.values()), model, cache, failures=failures, tally=tally))
        runner.run(HeadStage(missing, model, keys, cache=cache, keeper=keeper, tally=tally))


def _cache_folder(settings: ScoreSettings, keeper: Keeper, stack: ExitStack) -> Path:
    if settings.cache_dir is not None:
        return settings.cache_dir / "embeddings"
    # Ranks pass embeddings to each other through files in any case; without a cache they go with the run.
    folder = keeper.failures.folder / "embeddings"
    if is_rank_zero():
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder
