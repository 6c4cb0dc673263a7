"""The answers to the clips of a run, block by block: what is known of them, what came of the rest, what is counted."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cmi_bench.data.audio_info import AudioIndex
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkModelABC, ClipAhead
from cmi_bench.scoring.batch_check import choose_probes
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.key_set import KeySet
from cmi_bench.scoring.model_call import ModelCall, judged_by, nan_is_failure
from cmi_bench.scoring.requests import Request, ScoringPlan, deduplicate
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.score_columns import ScoreColumns
from cmi_bench.scoring.store import FileScoreWriter
from cmi_bench.types import Aspect, Clip, Score

log = logging.getLogger(__name__)


class PlannedBlock(NamedTuple):
    """A block before it is scored."""

    clips: Sequence[Clip]
    plan: ScoringPlan
    known: Mapping[str, Score]
    """Scores of earlier runs and blocks, by request key."""
    missing: list[Request]
    """What nothing has answered."""


class Answers:
    """Takes the answers to a run's clips, on rank 0."""

    def __init__(
        self,
        call: ModelCall[BenchmarkModelABC],
        index: AudioIndex,
        writer: FileScoreWriter,
        *,
        probe_limits: BatchLimits,
    ) -> None:
        """Take what is needed.

        Args:
            call: The model, and what it is told.
            index: Knows the audio files.
            writer: Has what was scored and what failed.
            probe_limits: How large a batch of clips that are scored again may get.
        """
        self.call = call
        self.index = index
        self.writer = writer
        self.scores = ScoreColumns()
        """By clip, in order."""
        self.distinct = ScoreColumns()
        """Of each request that has a score, without its members."""
        self.probes: list[Request] = []
        """Some of what was scored in this run; see `choose_probes`."""
        self.probe_scores: dict[str, Score] = {}
        """Theirs, by key."""
        self._probe_limits = probe_limits
        self._judged: frozenset[Aspect] = frozenset()
        self._failed: dict[str, str] = {}
        self._requests, self._audio, self._made = KeySet(), KeySet(), KeySet()
        self._from_store = 0

    def plan(self, clips: Sequence[Clip]) -> PlannedBlock:
        """Find a block's requests, and those that are to be scored; what failed in this run is not tried again."""
        plan = deduplicate(clips, self.call, self.index)
        known = self.writer.store.lookup(request.key for request in plan.requests)
        missing = [one for one in plan.requests if one.key not in known and one.key not in self._failed]
        return PlannedBlock(clips, plan, known, missing)

    def ahead(self, blocks: Iterable[Sequence[Clip]]) -> Iterator[ClipAhead]:
        """Yield what is to be scored of all blocks, each request once."""
        seen = KeySet()
        for missing in (self.plan(clips).missing for clips in blocks):
            for one, is_new in zip(missing, seen.add([one.key for one in missing]), strict=True):
                if is_new:
                    yield ClipAhead(one.clip, one.audio.seconds, one.ref_audio.seconds if one.ref_audio else None)

    def take(self, block: PlannedBlock, *, stop_on_failure: bool) -> None:
        """Take the answers to a block's clips.

        Raises:
            UserError: A clip has none; under `stop_on_failure`, with the reason of the first one that failed.
        """
        made = self.writer.store.lookup(request.key for request in block.missing)
        self._failed |= self.writer.failures.read()
        stored = {**block.known, **made}
        self._count(block, stored)
        self._keep_probes([one for one in block.missing if one.key in made], made)
        scores = {clip.clip_id: _answer_to(clip, block.plan, stored, self._failed) for clip in block.clips}
        found = {key: score for key, score in scores.items() if score is not None}
        if stop_on_failure:
            raise_first_failure(block.clips, found)
        _check_complete(found, scores)
        if stop_on_failure:
            self._judged |= judged_by(found.values())
            raise_first_failure(block.clips, {key: nan_is_failure(one, self._judged) for key, one in found.items()})
        self.scores.extend(found.values())

    def _count(self, block: PlannedBlock, stored: Mapping[str, Score]) -> None:
        requests = block.plan.requests
        is_new = self._requests.add([request.key for request in requests])
        values = (stored.get(request.key) for request, new in zip(requests, is_new, strict=True) if new)
        self.distinct.extend(Score(*score.columns) for score in values if score is not None)
        self._audio.add([facts.digest for one in requests for facts in (one.audio, one.ref_audio) if facts])
        self._made.add([request.key for request in block.missing])
        self._from_store += int((~self._made.contain(list(block.plan.key_of.values()))).sum())

    def _keep_probes(self, scored: Sequence[Request], made: Mapping[str, Score]) -> None:
        items, seconds = self._probe_limits.items, self._probe_limits.seconds
        self.probes = choose_probes([*self.probes, *scored], items=items, seconds=seconds)
        self.probe_scores = {one.key: made.get(one.key) or self.probe_scores[one.key] for one in self.probes}

    @property
    def made(self) -> int:
        """How many requests were scored in this run."""
        return len(self._made)

    def summed(self, total: RunStats) -> RunStats:
        """Return what all ranks did, in the words of `metadata.json`."""
        counts, failed = total.counts, self.scores.failed
        total.counts = Counter(
            clips=len(self.scores),
            unique_clips=len(self._requests),
            unique_audio=len(self._audio),
            chunks_encoded=counts["chunks_encoded"],
            chunks_from_cache=max(counts["chunks_needed"] - counts["chunks_encoded"], 0),
            texts_encoded=counts["texts_encoded"],
            scored=len(self.scores) - failed,
            from_store=self._from_store,
            failed=failed,
        )
        return total


def _answer_to(clip: Clip, plan: ScoringPlan, stored: Mapping[str, Score], failures: Mapping[str, str]) -> Score | None:
    if clip.clip_id in plan.unreadable:
        return Score.failed(plan.unreadable[clip.clip_id])
    key = plan.key_of[clip.clip_id]
    if key in stored:
        return stored[key]
    return Score.failed(failures[key]) if key in failures else None


def raise_first_failure(clips: Sequence[Clip], scores: Mapping[str, Score]) -> None:
    """Stop at the first of some clips that could not be scored.

    Args:
        clips: In order.
        scores: By clip id.

    Raises:
        UserError: There is one.
    """
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


def _check_complete(scores: Iterable[str], planned: Iterable[str]) -> None:
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
