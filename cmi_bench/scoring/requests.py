"""What a run asks a model: the clips of its rows, and the distinct requests among them.

Clips with equal content ask for the same score, which is made once. A request is addressed by content (the bytes of the
audio, the text, the lyrics, the reference, what the model is, and the code that computes), so that names and paths make
no difference.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cmi_bench.data.audio_info import AudioIndex, FileFacts
from cmi_bench.data.rows import Row
from cmi_bench.models.base import BenchmarkModelABC, UnusedInput
from cmi_bench.scoring.code_identity import code_identity
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.types import Clip
from cmi_bench.utils.files import content_key


def clip_id(row: Row, side: str) -> str:
    """Return the id of one side ("a" or "b") of a row."""
    return f"{row.index}:{side}"


def clips_of(rows: Iterable[Row], root: Path) -> list[Clip]:
    """List what there is to score, A before B, in the rows' order.

    Args:
        rows: The rows of the run.
        root: Data root that the rows' audio paths are relative to.
    """
    return [
        Clip(
            clip_id=clip_id(row, side),
            audio=root / audio,
            text=row.prompt,
            lyrics=row.lyrics,
            ref_audio=root / row.ref_audio if row.ref_audio else None,
        )
        for row in rows
        for side, audio in (("a", row.audio_a), ("b", row.audio_b))
        if audio is not None
    ]


BLOCK = 4096
"""Rows whose clips are scored together: enough to make batches of near lengths of, and little memory."""


@dataclass(frozen=True)
class ClipBlocks:
    """The clips of many rows, block by block; may be gone over any number of times."""

    rows: Sequence[Row]
    root: Path
    """Data root that the rows' audio paths are relative to."""

    def __len__(self) -> int:
        return -(-len(self.rows) // BLOCK)

    def __iter__(self) -> Iterator[list[Clip]]:
        rows = iter(self.rows)
        while block := list(islice(rows, BLOCK)):
            yield clips_of(block, self.root)


@dataclass(frozen=True)
class Request:
    """One thing to score."""

    key: str
    """Content address: audio, text, lyrics, reference, and the model with what it is told; no names, no paths."""
    clip: Clip
    """The first clip that asks for it, without what the model does not look at."""
    audio: FileFacts
    ref_audio: FileFacts | None
    seconds: float
    """How much audio is decoded: of the clip and its reference."""

    @property
    def name(self) -> str:
        """The clip's file."""
        return str(self.clip.audio)


class ScoringPlan(NamedTuple):
    """The requests of a run."""

    requests: list[Request]
    """Distinct ones, in the order of the clips."""
    key_of: dict[str, str]
    """Clip id to request key."""
    unreadable: dict[str, str]
    """Clip id to the reason why there is no request: a file that is not there."""


def deduplicate(clips: Sequence[Clip], call: ModelCall[BenchmarkModelABC], index: AudioIndex) -> ScoringPlan:
    """Find the distinct requests among clips.

    Args:
        clips: What is to be scored.
        call: The model, and what it is told.
        index: Knows the audio files.
    """
    requests: dict[str, Request] = {}
    key_of: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    code = code_identity(call.model)
    for clip in clips:
        try:
            request = request_of(clip, call, code, index)
        except OSError as error:
            unreadable[clip.clip_id] = f"Cannot read {error.filename}: {error.strerror}"
            continue
        key_of[clip.clip_id] = request.key
        requests.setdefault(request.key, request)
    return ScoringPlan(list(requests.values()), key_of, unreadable)


def request_of(clip: Clip, call: ModelCall[BenchmarkModelABC], code: str, index: AudioIndex) -> Request:
    """Return what a clip asks a model.

    Args:
        clip: What is to be scored.
        call: The model, and what it is told.
        code: The model's `code_identity`.
        index: Knows the clip's files.

    Raises:
        OSError: A file is missing or cannot be read.
    """
    clip = _without(clip, call.model.unused_inputs)
    audio = index.facts(clip.audio)
    ref_audio = index.facts(clip.ref_audio) if clip.ref_audio else None
    key = _request_key(clip, call, code, audio=audio, ref_audio=ref_audio)
    seconds = sum(call.seconds_of(facts.seconds) for facts in (audio, ref_audio) if facts is not None)
    return Request(key, clip, audio, ref_audio, seconds)


def _without(clip: Clip, unused: frozenset[UnusedInput]) -> Clip:
    return replace(
        clip,
        text="" if "text" in unused else clip.text,
        lyrics="" if "lyrics" in unused else clip.lyrics,
        ref_audio=None if "ref_audio" in unused else clip.ref_audio,
    )


def _request_key(
    clip: Clip, call: ModelCall[BenchmarkModelABC], code: str, *, audio: FileFacts, ref_audio: FileFacts | None
) -> str:
    return content_key(
        audio=audio.digest,
        text=clip.text,
        lyrics=clip.lyrics,
        ref_audio=ref_audio.digest if ref_audio else None,
        model=call.model.identity or "",
        code=code,
        max_dur=call.max_dur,
        score_kwargs=dict(call.score_kwargs),
        # Of a model that says nothing of its identity, the clip may be part of the question.
        row=clip.clip_id if call.model.identity is None else None,
    )
