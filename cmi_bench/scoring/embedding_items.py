"""What is embedded, and under which address: pieces of audio, texts, and the inputs of a request made of them.

An address is that of the content (the audio's bytes, the text) with whatever else settles the numbers: the encoder, the
view of the audio, and the code. It is made of plain values, so that a process without the model knows it too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from cmi_bench.data.audio_info import FileFacts
from cmi_bench.models.base import AudioView, EmbeddedInput, EmbeddingModel, InputKind
from cmi_bench.scoring.code_identity import code_identity
from cmi_bench.scoring.requests import Request
from cmi_bench.utils.files import content_key

if TYPE_CHECKING:
    from torch import Tensor

COMPACT = "-compact"
"""How addresses of what training reads end, so that a folder's names tell them from the others."""
TITLE_LENGTH = 40
"""Characters of a text by which messages call it."""


class KeptForm(NamedTuple):
    """One form in which an embedding is stored."""

    key: str
    """Its address."""
    kind: InputKind | None = None
    """Pooled as what it is of a clip, in float16; None: as the model makes it."""


@dataclass(frozen=True)
class AudioItem:
    """One piece of audio to embed."""

    key: str
    path: Path
    seconds: float
    """How much of it is decoded, as far as known."""
    chunks: int
    """Pieces that it is encoded in."""
    is_reference: bool
    """Whether it is decoded as a reference is; with most models that makes no difference."""
    forms: tuple[KeptForm, ...] = ()
    """What is stored of it, where that is not the embedding as it is under `key`; the last one's address is `key`."""

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)


@dataclass(frozen=True)
class TextItem:
    """One text to embed."""

    key: str
    text: str
    forms: tuple[KeptForm, ...] = ()
    """As of audio."""

    @property
    def name(self) -> str:
        """Its beginning, in quotation marks."""
        return repr(self.text if len(self.text) <= TITLE_LENGTH else self.text[: TITLE_LENGTH - 3] + "...")


@dataclass(frozen=True)
class EmbeddingInputs:
    """A request, and the audio and the texts whose embeddings it is scored from."""

    request: Request
    audio: AudioItem
    ref_audio: AudioItem | None
    text: TextItem
    lyrics: TextItem

    @property
    def key(self) -> str:
        """The request's."""
        return self.request.key

    @property
    def name(self) -> str:
        """The request's."""
        return self.request.name

    @property
    def audio_items(self) -> tuple[AudioItem, ...]:
        """The clip, and its reference if there is one."""
        return (self.audio,) if self.ref_audio is None else (self.audio, self.ref_audio)

    @property
    def by_kind(self) -> dict[InputKind, AudioItem | TextItem]:
        """All that is needed, by what it is of the clip."""
        reference: dict[InputKind, AudioItem | TextItem] = (
            {} if self.ref_audio is None else {"ref_audio": self.ref_audio}
        )
        return {"audio": self.audio, "text": self.text, "lyrics": self.lyrics, **reference}

    @property
    def keys(self) -> list[str]:
        """The addresses of all that is needed, each once."""
        texts = (self.text.key, self.lyrics.key)
        return list(dict.fromkeys((*(item.key for item in self.audio_items), *texts)))

    def embedded(self, found: "Mapping[str, Sequence[Tensor]]") -> EmbeddedInput:
        """Return what the model scores.

        Args:
            found: By their keys, the windows of all audio items, and the one tensor of each text.
        """
        return EmbeddedInput(
            windows=found[self.audio.key],
            text=found[self.text.key][0],
            lyrics=found[self.lyrics.key][0],
            ref_audio=found[self.ref_audio.key][0] if self.ref_audio else None,
        )


@dataclass(frozen=True)
class EmbeddingAddresses:
    """What settles the addresses of a model's embeddings, besides the audio and the texts."""

    max_dur: float
    """Seconds of a clip that are looked at, from its start."""
    views: Mapping[bool, AudioView]
    """How clips (False) and references (True) are decoded."""
    audio_encoder: Mapping[str, str]
    text_encoder: Mapping[str, str]
    pooling: Mapping[InputKind, str]
    """What a head's pooling without parameters does; see `EmbeddingModel.pooling`."""

    @classmethod
    def of(cls, model: EmbeddingModel, max_dur: float) -> "EmbeddingAddresses":
        """Return those of a model that looks at `max_dur` seconds."""
        code = code_identity(model.embedder)
        return cls(
            max_dur=max_dur,
            views={flag: model.audio_view(max_dur, is_reference=flag) for flag in (False, True)},
            audio_encoder={"encoder": model.audio_identity, "code": code},
            text_encoder={"encoder": model.text_identity, "code": code},
            pooling={kind: model.pooling(kind) for kind in get_args(InputKind)},
        )

    def audio(self, digest: str, *, is_reference: bool) -> str:
        """Return the address of audio.

        Args:
            digest: SHA-256 of the file.
            is_reference: Whether it is decoded as a reference is.
        """
        return content_key(audio=digest, view=self.views[is_reference].name, **self.audio_encoder)

    def text(self, text: str) -> str:
        """Return the address of a prompt or of lyrics."""
        return content_key(text=text, **self.text_encoder)

    def compact(self, key: str, kind: InputKind) -> str:
        """Return the address of what training reads of an embedding: pooled, in float16.

        Args:
            key: The address of the embedding as the model makes it.
            kind: What it is of a clip.
        """
        return content_key(embedding=key, pooling=self.pooling[kind], numbers="float16") + COMPACT

    def inputs_of(self, request: Request) -> EmbeddingInputs:
        """Return what a request is scored from."""
        clip, reference = request.clip, None
        if clip.ref_audio is not None and request.ref_audio is not None:
            reference = self._audio_item(clip.ref_audio, request.ref_audio, is_reference=True)
        return EmbeddingInputs(
            request=request,
            audio=self._audio_item(clip.audio, request.audio, is_reference=False),
            ref_audio=reference,
            text=TextItem(self.text(clip.text), clip.text),
            lyrics=TextItem(self.text(clip.lyrics), clip.lyrics),
        )

    def _audio_item(self, path: Path, facts: FileFacts, *, is_reference: bool) -> AudioItem:
        view = self.views[is_reference]
        limit = math.inf if view.seconds is None else view.seconds
        seconds = min(self.max_dur if facts.seconds is None else facts.seconds, limit)
        chunks = 1 if view.chunk_seconds is None else max(math.ceil(seconds / view.chunk_seconds), 1)
        return AudioItem(self.audio(facts.digest, is_reference=is_reference), path, seconds, chunks, is_reference)
