"""From rows to the clips a model is asked about.

The distinct questions of a run: clips with equal content ask the same one, which is answered once.

Which embeddings a request needs, by content address.

What a model said of a clip of the run.

Tell "the model does not judge this" from "the model failed on this clip".

Read a model's answer: an array [N, 2] of numbers, or a clear word on what is wrong with it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cmi_bench.data.rows import Row
from cmi_bench.errors import RunError
from cmi_bench.models.base import EmbeddingModel, UnusedInput
from cmi_bench.types import Aspect, Clip, Score
from cmi_bench.utils.files import content_key


def clip_id(row: Row, side: str) -> str:
    """Name one side ("a" or "b") of a row."""
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


class FileFacts(NamedTuple):
    """What a plan must know of an audio file."""

    digest: str
    """SHA-256 of its bytes."""
    seconds: float | None
    """Length; None where the header does not say."""


class AudioIndex(Protocol):
    """Knows audio files."""

    def facts(self, path: Path) -> FileFacts:
        """Return a file's facts.

        Raises:
            OSError: The file is missing or cannot be read.
        """


class Question(NamedTuple):
    """What settles a score besides the clip."""

    identity: str
    """The model's identity; see `models.contract`."""
    max_dur: float
    """Seconds of a clip that are looked at."""
    score_kwargs: Mapping[str, Any]
    by_row: bool
    """Whether the row that asks is part of the question: for models that say nothing of their identity."""
    unused_inputs: frozenset[UnusedInput] = frozenset()
    """What of a clip is no part of the question."""


@dataclass(frozen=True)
class Request:
    """One thing to judge."""

    key: str
    """Content address: audio, text, lyrics, reference and the `Question`; no names, no paths."""
    clip: Clip
    """The first clip that asks for it."""
    audio: FileFacts
    ref_audio: FileFacts | None

    def seconds(self, max_dur: float) -> float:
        """Return how much audio has to be heard."""
        heard = [facts.seconds for facts in (self.audio, self.ref_audio) if facts is not None]
        return sum(max_dur if seconds is None else min(seconds, max_dur) for seconds in heard)


class ScoringPlan(NamedTuple):
    """The questions of a run."""

    requests: list[Request]
    """Distinct ones, in the order they are first asked."""
    key_of: dict[str, str]
    """Clip id to request key."""
    unreadable: dict[str, str]
    """Clip id to the reason why there is no request: a file that is not there."""


def deduplicate(clips: Sequence[Clip], question: Question, index: AudioIndex) -> ScoringPlan:
    """Find the distinct questions that clips ask."""
    requests: dict[str, Request] = {}
    key_of: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    for clip in (_without(clip, question.unused_inputs) for clip in clips):
        try:
            audio = index.facts(clip.audio)
            ref_audio = index.facts(clip.ref_audio) if clip.ref_audio else None
        except OSError as error:
            unreadable[clip.clip_id] = f"Cannot read {error.filename}: {error.strerror}"
            continue
        key = _request_key(clip, question, audio=audio, ref_audio=ref_audio)
        key_of[clip.clip_id] = key
        requests.setdefault(key, Request(key, clip, audio, ref_audio))
    return ScoringPlan(list(requests.values()), key_of, unreadable)


def _without(clip: Clip, unused: frozenset[UnusedInput]) -> Clip:
    """Return the clip without what the model does not look at."""
    return replace(
        clip,
        text="" if "text" in unused else clip.text,
        lyrics="" if "lyrics" in unused else clip.lyrics,
        ref_audio=None if "ref_audio" in unused else clip.ref_audio,
    )


def _request_key(clip: Clip, question: Question, *, audio: FileFacts, ref_audio: FileFacts | None) -> str:
    return content_key(
        audio=audio.digest,
        text=clip.text,
        lyrics=clip.lyrics,
        ref_audio=ref_audio.digest if ref_audio else None,
        model=question.identity,
        max_dur=question.max_dur,
        score_kwargs=dict(question.score_kwargs),
        row=clip.clip_id if question.by_row else None,
    )


@dataclass(frozen=True)
class AudioItem:
    """One piece of audio to embed."""

    key: str
    path: Path
    seconds: float
    """How much of it is heard, as far as known."""
    chunks: int
    """Pieces that it is encoded in."""
    is_reference: bool
    """Whether it is heard as a reference is; with most models that makes no difference."""


@dataclass(frozen=True)
class TextItem:
    """One text to embed."""

    key: str
    text: str


@dataclass(frozen=True)
class Needs:
    """What a request is scored from."""

    audio: AudioItem
    ref_audio: AudioItem | None
    text: TextItem
    lyrics: TextItem

    @property
    def audio_items(self) -> tuple[AudioItem, ...]:
        """The clip, and its reference if there is one."""
        return (self.audio,) if self.ref_audio is None else (self.audio, self.ref_audio)

    @property
    def keys(self) -> list[str]:
        """The addresses of all that is needed, each once."""
        texts = (self.text.key, self.lyrics.key)
        return list(dict.fromkeys((*(item.key for item in self.audio_items), *texts)))


class EmbeddingKeys:
    """Knows the addresses of a model's embeddings under one `max_dur`."""

    def __init__(self, model: EmbeddingModel, max_dur: float) -> None:
        self.max_dur = max_dur
        self.views = {flag: model.audio_view(max_dur, is_reference=flag) for flag in (False, True)}
        self.audio_identity = model.audio_identity
        self.text_identity = model.text_identity

    def needs(self, request: Request) -> Needs:
        """Return what a request is scored from."""
        clip = request.clip
        reference = None
        if clip.ref_audio is not None and request.ref_audio is not None:
            reference = self._audio(clip.ref_audio, request.ref_audio, is_reference=True)
        return Needs(
            audio=self._audio(clip.audio, request.audio, is_reference=False),
            ref_audio=reference,
            text=self._text(clip.text),
            lyrics=self._text(clip.lyrics),
        )

    def _audio(self, path: Path, facts: FileFacts, *, is_reference: bool) -> AudioItem:
        view = self.views[is_reference]
        key = content_key(audio=facts.digest, view=view.name, encoder=self.audio_identity)
        limit = math.inf if view.seconds is None else view.seconds
        seconds = min(self.max_dur if facts.seconds is None else facts.seconds, limit)
        chunks = 1 if view.chunk_seconds is None else max(math.ceil(seconds / view.chunk_seconds), 1)
        return AudioItem(key, path, seconds, chunks, is_reference)

    def _text(self, text: str) -> TextItem:
        return TextItem(content_key(text=text, encoder=self.text_identity), text)


def judged_by(scores: Iterable[Score]) -> frozenset[Aspect]:
    """Return what the model judges: the columns in which it has given any clip a number."""
    valid = [score for score in scores if not score.error]
    return frozenset(aspect for aspect in Aspect if any(not math.isnan(score.value(aspect)) for score in valid))


def mark_partial_nan(scores: Mapping[str, Score]) -> dict[str, Score]:
    """Turn a NaN in a column that the model does judge elsewhere into a failure of that clip."""
    judged = judged_by(scores.values())
    return {key: _nan_is_failure(score, judged) for key, score in scores.items()}


def _nan_is_failure(score: Score, judged: frozenset[Aspect]) -> Score:
    missing = [name for name in sorted(judged) if math.isnan(score.value(name))]
    if score.error or not missing:
        return score
    return Score.failed(f"the model returned NaN for {' and '.join(missing)}, which it judges elsewhere")


class ContractError(RunError):
    """A model that answers in a form the benchmark cannot read."""


def checked_scores(answer: Any, count: int, model: str) -> npt.NDArray[np.float64]:
    """Return a model's answer as float64 [count, 2].

    Raises:
        ContractError: Another shape, another count, or not numbers; the message shows both.
    """
    array = np.asarray(answer)
    if array.shape != (count, 2):
        raise ContractError(
            f"{model}.score_batch returned shape {list(array.shape)} for {count} clips; expected [{count}, 2].",
            "Return one row per input: column 0 alignment, column 1 musicality (NaN for what is not judged).",
        )
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise ContractError(
            f"{model}.score_batch returned dtype {array.dtype}; expected floating-point numbers.",
            "Convert the scores, e.g. np.asarray(scores, dtype=np.float32).",
        )
    return array.astype(np.float64)
