"""Which embeddings a request needs, by content address."""

import math
from dataclasses import dataclass
from pathlib import Path

from cmi_bench.content import content_key
from cmi_bench.inference.requests import AudioFacts, Request
from cmi_bench.models.contract import EmbeddingModel


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

    def _audio(self, path: Path, facts: AudioFacts, *, is_reference: bool) -> AudioItem:
        view = self.views[is_reference]
        key = content_key(audio=facts.digest, view=view.name, encoder=self.audio_identity)
        limit = math.inf if view.seconds is None else view.seconds
        seconds = min(self.max_dur if facts.seconds is None else facts.seconds, limit)
        chunks = 1 if view.chunk_seconds is None else max(math.ceil(seconds / view.chunk_seconds), 1)
        return AudioItem(key, path, seconds, chunks, is_reference)

    def _text(self, text: str) -> TextItem:
        return TextItem(content_key(text=text, encoder=self.text_identity), text)
