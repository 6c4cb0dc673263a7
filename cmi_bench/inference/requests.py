"""The distinct questions of a run: clips with equal content ask the same one, which is answered once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cmi_bench.content import content_key
from cmi_bench.inference.clips import Clip
from cmi_bench.models.contract import UnusedInput


class AudioFacts(NamedTuple):
    """What a plan must know of an audio file."""

    digest: str
    """SHA-256 of its bytes."""
    seconds: float | None
    """Length; None where the header does not say."""


class AudioIndex(Protocol):
    """Knows audio files."""

    def facts(self, path: Path) -> AudioFacts:
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
    audio: AudioFacts
    ref_audio: AudioFacts | None

    def seconds(self, max_dur: float) -> float:
        """Return how much audio has to be heard."""
        heard = [facts.seconds for facts in (self.audio, self.ref_audio) if facts is not None]
        return sum(max_dur if seconds is None else min(seconds, max_dur) for seconds in heard)


class Asked(NamedTuple):
    """The questions of a run."""

    requests: list[Request]
    """Distinct ones, in the order they are first asked."""
    key_of: dict[str, str]
    """Clip id to request key."""
    unreadable: dict[str, str]
    """Clip id to the reason why there is no request: a file that is not there."""


def ask(clips: Sequence[Clip], question: Question, index: AudioIndex) -> Asked:
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
    return Asked(list(requests.values()), key_of, unreadable)


def _without(clip: Clip, unused: frozenset[UnusedInput]) -> Clip:
    """Return the clip without what the model does not look at."""
    return replace(
        clip,
        text="" if "text" in unused else clip.text,
        lyrics="" if "lyrics" in unused else clip.lyrics,
        ref_audio=None if "ref_audio" in unused else clip.ref_audio,
    )


def _request_key(clip: Clip, question: Question, *, audio: AudioFacts, ref_audio: AudioFacts | None) -> str:
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
