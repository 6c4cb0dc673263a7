"""Score the clips of a run: what is known is looked up, the rest is embedded and scored, each thing once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cmi_bench.errors import UserError
from cmi_bench.inference.answer import answer
from cmi_bench.inference.clips import Clip
from cmi_bench.inference.failures import STOPPED, FailureLog
from cmi_bench.inference.judged import mark_partial_nan
from cmi_bench.inference.keeper import Keeper
from cmi_bench.inference.requests import Asked, AudioIndex, Question, Request, ask
from cmi_bench.inference.runner import Runner
from cmi_bench.inference.score_store import ScoreStore, StoredScore
from cmi_bench.inference.scores import ClipScore, failed
from cmi_bench.inference.settings import ScoreSettings
from cmi_bench.inference.tally import Tally, clear_tallies, collect_tallies
from cmi_bench.models.contract import RewardModel
from cmi_bench.ranks import is_rank_zero, process_rank


class Scored(NamedTuple):
    """What a run came to."""

    scores: dict[str, ClipScore]
    """By clip id; on rank 0 only."""
    tally: Tally
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
    failures, tally = FailureLog(folder, process_rank()), Tally()
    asked, missing = Asked([], {}, {}), list[Request]()
    if is_rank_zero():
        _clear(folder, failures, store, resume=settings.resume)
        question = Question(
            identity or "",
            settings.max_dur,
            settings.score_kwargs,
            by_row=identity is None,
            unused_inputs=frozenset(getattr(model, "unused_inputs", ())),
        )
        asked = ask(clips, question, index)
        known = store.read()
        missing = [request for request in asked.requests if request.key not in known]
    # A single process that has nothing to do is done; of several, the others wait for rank 0's word.
    if missing or runner.processes > 1:
        answer(missing, model, runner, settings=settings, keeper=Keeper(store, failures), tally=tally)
    tally.write(folder, process_rank())
    runner.wait("all scores are stored")
    if not is_rank_zero():
        return Scored({}, tally)
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
    clear_tallies(folder)
    if not resume:
        store.clear()


def _by_clip(
    clips: Sequence[Clip],
    asked: Asked,
    stored: Mapping[str, StoredScore],
    failures: Mapping[str, str],
    *,
    stop_on_failure: bool,
) -> dict[str, ClipScore]:
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
    clip: Clip, asked: Asked, stored: Mapping[str, StoredScore], failures: Mapping[str, str]
) -> ClipScore | None:
    if clip.clip_id in asked.unreadable:
        return failed(clip.clip_id, asked.unreadable[clip.clip_id])
    key = asked.key_of[clip.clip_id]
    if key in stored:
        return ClipScore(clip.clip_id, stored[key].alignment, stored[key].musicality)
    return failed(clip.clip_id, failures[key]) if key in failures else None


def _raise_first_failure(clips: Sequence[Clip], scores: Mapping[str, ClipScore]) -> None:
    for clip in clips:
        score = scores.get(clip.clip_id)
        if score is not None and score.error:
            raise UserError(
                f"{clip}: {score.error}",
                "Mend the file or the model, or use on_error=record to mark such clips and go on. The scores made so"
                " far are kept; run the same command again to go on from here.",
            )


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


def _summed(folder: Path, asked: Asked, missing: Sequence[Request], scores: Mapping[str, ClipScore]) -> Tally:
    """Add up what all ranks did, in the words of `metadata.json`."""
    total = collect_tallies(folder)
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
