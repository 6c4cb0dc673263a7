"""Score the clips of a run: what is known is looked up, the rest is embedded and scored, each thing once."""

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cmi_bench.config import Config, OnError
from cmi_bench.data.audio_info import AudioIndex
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.scoring.answers import Answers, PlannedBlock, raise_first_failure
from cmi_bench.scoring.batch_check import BatchCheck, Units, check_batches, clips_affordable, keep_worst, units_of
from cmi_bench.scoring.batching import BatchLimits, Runner
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.request_scorer import RequestScorer
from cmi_bench.scoring.requests import Request, ScoringPlan
from cmi_bench.scoring.run_stats import RunStats, clear_stats, collect_stats
from cmi_bench.scoring.score_columns import ScoreColumns
from cmi_bench.scoring.store import FailureLog, FileScoreWriter, ScoreStore, kept_scores
from cmi_bench.types import Clip, Score
from cmi_bench.utils.console import ProgressBar, part_of
from cmi_bench.utils.distributed import is_rank_zero, process_rank


class Scored(NamedTuple):
    """What scoring came to."""

    scores: dict[str, Score]
    """By clip id; on rank 0 only."""
    stats: RunStats
    """What was done and how long it took, over all ranks; on rank 0 only."""
    batch_check: BatchCheck | None = None
    """Whether scores depend on the clips beside them; None where that was not looked at. On rank 0 only."""


class ScoredBlocks(NamedTuple):
    """What scoring block by block came to."""

    scores: ScoreColumns
    """In the order of the clips; on rank 0 only."""
    stats: RunStats
    """As in `Scored`."""
    batch_check: BatchCheck | None = None
    """As in `Scored`."""


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
    """Score clips, all in one block; see `score_blocks`.

    Args:
        clips: What to score, each with an id of its own.
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
    found = score_blocks(
        [clips], model, runner, config=config, index=index, folder=folder, with_batch_check=with_batch_check
    )
    ids = [clip.clip_id for clip in clips] if is_rank_zero() else []
    return Scored(dict(zip(ids, found.scores, strict=True)), found.stats, found.batch_check)


def score_blocks(
    blocks: Iterable[Sequence[Clip]],
    model: BenchmarkModelABC,
    runner: Runner,
    *,
    config: Config,
    index: AudioIndex,
    folder: Path,
    with_batch_check: bool = True,
    progress: ProgressBar | None = None,
    stats: RunStats | None = None,
) -> ScoredBlocks:
    """Score clips block by block, using what earlier runs left.

    Memory holds one block, and some sixty bytes of each clip. What is equal in several blocks is scored once.

    Scores are kept as they are made; a run that was stopped at any moment and is started again does
    only what is missing. A model that says nothing of its identity has its scores kept in the run's
    own folder, so that they are used again only by a run in the same folder.

    Args:
        blocks: What to score, the same in all processes. They are gone over more than once.
        model: The model, on this process's device.
        runner: Runs the stages of each block.
        config: See `score_clips`, also for what is raised.
        index: Knows the audio files.
        folder: The run's folder.
        with_batch_check: See `score_clips`; done once, after the last block.
        progress: Counts the clips of all blocks; None for a bar for each stage of each block.
        stats: What this process has counted and timed of the run before.
    """
    call = ModelCall(model, config.max_dur, config.model.get("score_kwargs") or {}, config.model_timeout)
    store = kept_scores(config.cache, model.identity) or ScoreStore(folder / "scores")
    failures, stats = FailureLog(folder, process_rank()), stats or RunStats()
    if is_rank_zero():
        _clear(folder, failures, store, resume=config.resume)
    writer = FileScoreWriter(store, failures, stop_on_failure=config.on_error is OnError.fail, stats=stats)
    answers = Answers(call, index, writer, probe_limits=BatchLimits(config.batch_size, config.batch_seconds))
    with RequestScorer(call, runner, config=config, writer=writer, stats=stats) as scorer:
        if scorer.wants_all_ahead:
            scorer.prepare(list(answers.ahead(blocks)) if is_rank_zero() else [])
        for clips in blocks:
            before = progress.done if progress else 0
            with part_of(progress, len(clips)):
                _score_block(clips, scorer, answers)
            if progress:
                progress.advance(before + len(clips) - progress.done)
            if failures.stopped:  # rank 0 has raised
                return ScoredBlocks(ScoreColumns(), stats)
    stats.write(folder, process_rank())
    runner.wait("all scores are stored")
    if not is_rank_zero():
        return ScoredBlocks(ScoreColumns(), stats)
    scores, units = answers.scores, units_of(answers.distinct)
    scores.fail_partial_nan()
    if writer.stop_on_failure and scores.failed:
        _raise_late_failure(blocks, scores)
    summed = answers.summed(collect_stats(folder))
    if not with_batch_check or model.is_remote or not model.is_deterministic:
        return ScoredBlocks(scores, summed)
    with summed.timed("check"):
        found = _check_batches(answers, units, summed, config=config, folder=folder)
    worst = keep_worst(store.notes, found, model=f"{model.class_name} {model.identity}")
    return ScoredBlocks(scores, summed, worst)


def _score_block(clips: Sequence[Clip], scorer: RequestScorer, answers: Answers) -> None:
    """Score a block, in all processes.

    Raises:
        UserError: A clip could not be scored and `on_error=fail`, or one has no answer. This is raised on rank 0; the
            others find that the run is stopped.
    """
    writer, runner = scorer.writer, scorer.runner
    writer.failures.pass_over()
    block = answers.plan(clips) if is_rank_zero() else PlannedBlock([], ScoringPlan([], {}, {}), {}, [])
    # A single process that has nothing to do is done; of several, the others wait for rank 0's word.
    if block.missing or runner.processes > 1:
        scorer.score(block.missing)
    runner.wait("the block's scores are stored")
    try:
        if is_rank_zero():
            answers.take(block, stop_on_failure=writer.stop_on_failure)
    except BaseException:
        writer.failures.stop()
        raise
    finally:
        runner.wait("the block's scores are taken")


def _raise_late_failure(blocks: Iterable[Sequence[Clip]], scores: ScoreColumns) -> None:
    """Stop at a clip without a score that only a later block showed to be missing: a NaN in what the model judges.

    Raises:
        UserError: There is one.
    """
    answered = iter(scores)
    for clips in blocks:
        raise_first_failure(clips, {clip.clip_id: next(answered) for clip in clips})


def _check_batches(
    answers: Answers, units: Units, stats: RunStats, *, config: Config, folder: Path
) -> BatchCheck | None:
    """Score a few of the clips that were scored in this run again, in other company.

    Audio that an embedding model encoded is encoded again; where it was all in the cache, only the head is looked at.
    """
    is_encoded = stats.counts["chunks_encoded"] > 0

    def rescore(requests: Sequence[Request]) -> Mapping[str, Score]:
        again = _check_folder(folder)
        writer = FileScoreWriter(ScoreStore(again), FailureLog(again, process_rank()), stop_on_failure=False)
        runner = LocalRunner(BatchLimits(len(requests), math.inf), workers=0, show_progress=False)
        options = replace(config, cache=replace(config.cache, dir=None)) if is_encoded else config
        again.mkdir(parents=True, exist_ok=True)
        try:
            with RequestScorer(answers.call, runner, config=options, writer=writer, stats=RunStats()) as scorer:
                scorer.score(requests)
            return {key: Score.failed(reason) for key, reason in writer.failures.read().items()} | writer.store.lookup(
                request.key for request in requests
            )
        finally:
            shutil.rmtree(again, ignore_errors=True)

    return check_batches(
        answers.probes,
        answers.probe_scores,
        rescore,
        units=units,
        run_batches_of_one=config.batch_size == 1,
        clips=_clips_affordable(stats, answers.made),
    )


def _clips_affordable(stats: RunStats, made: int) -> int:
    """Return how many of the clips scored in this run may be scored again, all of their audio encoded anew."""
    counts, seconds = stats.counts, stats.seconds
    encoded, scored = counts["chunks_encoded"], seconds["head"] + seconds["score"]
    encoding = seconds["encode"] * (encoded + counts["chunks_from_cache"]) / encoded if encoded else 0.0
    per_clip = (encoding + scored) / max(made, 1)
    return clips_affordable(per_clip, (seconds["encode"] + scored) / stats.processes)


def _check_folder(folder: Path) -> Path:
    """Return where scores of the batch check are while it runs; one that was killed has left it."""
    return folder / "batch_check"


def _clear(folder: Path, failures: FailureLog, store: ScoreStore, *, resume: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_check_folder(folder), ignore_errors=True)
    failures.clear()
    clear_stats(folder)
    if not resume:
        store.clear()
