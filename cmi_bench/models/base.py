"""The contract between the benchmark and a reward model.

It is the contract of the public CMI-RewardBench scripts, so that adapters written for those run unchanged: a class
with a property `sr` and a method `score_batch`. Everything else is optional and has a default here. A class that has
the two members and inherits from nothing is accepted too: `models.adapter.adapt` gives it the defaults.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from cmi_bench.types import Aspect, Clip

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn


AudioInput = Literal["path", "waveform"]
"""What a model is given as `audio`: a file path, or the decoded mono waveform at the model's `sr`."""

UnusedInput = Literal["text", "lyrics", "ref_audio"]
"""A field of `BenchmarkBatchInput` that a model's scores do not depend on."""

InputKind = Literal["audio", "ref_audio", "text", "lyrics"]
"""A field of `BenchmarkBatchInput`, as what its embedding is of."""

ALIGNMENT_COLUMN = 0
MUSICALITY_COLUMN = 1
COLUMN_OF = {Aspect.ALIGNMENT: ALIGNMENT_COLUMN, Aspect.MUSICALITY: MUSICALITY_COLUMN}
"""Where scores [N, 2] have an aspect."""


@dataclass(frozen=True)
class BenchmarkBatchInput:
    """One clip to score, with the instruction it was generated from."""

    audio: "str | Tensor"
    """Path, or mono waveform [samples] at the model's `sr` (float32 in [-1, 1])."""
    text: str = ""
    """The prompt; may be empty."""
    lyrics: str = ""
    """The lyrics; may be empty."""
    ref_audio: "str | Tensor | None" = None
    """Reference audio in the same form as `audio`, or None."""
    clip_id: str = ""
    """Which row and side this is. For messages and known-answer models; no score may depend on it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the four fields of the public scripts' payload."""
        return {"audio": self.audio, "text": self.text, "lyrics": self.lyrics, "ref_audio": self.ref_audio}


class SomeFailedError(Exception):
    """Some clips of a batch could not be scored; the others were, and need not be scored again."""

    def __init__(self, scores: "npt.NDArray[np.floating[Any]]", reasons: Mapping[int, str]) -> None:
        """Name the clips that failed.

        Args:
            scores: As `score_batch` returns them; the rows of the clips that failed are ignored.
            reasons: Why a clip failed, by its place in the batch.
        """
        super().__init__("; ".join(f"clip {place}: {reason}" for place, reason in reasons.items()))
        self.scores = scores
        self.reasons = reasons


class ClipAhead(NamedTuple):
    """A clip that is about to be scored, and how long its audio is."""

    clip: Clip
    seconds: float | None
    """Length of the clip's file; None where its header has none."""
    ref_seconds: float | None
    """Length of the reference's file; None where there is none, or its header has none."""


class WorkAhead(NamedTuple):
    """The work of a run that is about to begin."""

    clips: Sequence[ClipAhead]
    """What no earlier run has scored; on rank 0 only."""
    max_dur: float
    """Seconds of each file that may be used."""
    folder: Path
    """Where the run keeps the scores: a place for what belongs to them."""
    processes: int
    """How many share the work."""
    resume: bool
    """Whether what earlier runs left is to be used."""


class LabelledRow(Protocol):
    """What a model that answers from labels needs of a row."""

    @property
    def index(self) -> int:
        """The row's number, as in clip ids."""

    @property
    def raw(self) -> Mapping[str, Any]:
        """The row's own fields."""


class RewardModel(Protocol):
    """The least that a reward model is, for what takes models of all kinds and adapts them."""

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> "npt.NDArray[np.floating[Any]]":
        """Score clips; see `BenchmarkModelABC.score_batch`."""


class BenchmarkModelABC(ABC):
    """A reward model: `sr` and `score_batch`, and optional members with their defaults.

    The optional values that a model may have to compute (`identity`, `digest`, `weights_digest`, `facts`,
    `projections`, `clips_at_once`) are overridden by a property, by a class attribute, or by an assignment in the
    constructor.
    """

    audio_input: AudioInput = "path"
    """The form of the audio; for "waveform" the benchmark decodes in its own workers."""
    unused_inputs: frozenset[UnusedInput] = frozenset()
    """What the scores do not depend on: it is left out, and clips that differ in nothing else are scored once."""
    needs_labels: bool = False
    """Whether the model answers from the labels of rows, so that it is of no use without `bind_rows`."""
    digest_dir: Path | None = None
    """Where a model may keep digests of its weights from run to run; set by the benchmark, which knows its cache."""

    @property
    @abstractmethod
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""

    @abstractmethod
    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> "npt.NDArray[np.floating[Any]]":
        """Score clips.

        Args:
            inputs: The N clips.
            batch_size: How many the caller would like scored at once; a model may do otherwise.
            max_dur: Seconds of each clip, from its start, that may be used.

        Returns:
            Array [N, 2], column 0 alignment, column 1 musicality; NaN in a column means that the model does not
            judge it. An ensemble returns what each of its M members says, [M, N, 2]: a clip's score is their mean,
            and their spread is kept beside it.

        Raises:
            SomeFailedError: Clips of the batch cannot be scored, and it is known which. After any other exception
                the benchmark bisects the batch until it has found them.
        """

    is_deterministic = True
    """False for a model that gives the same clip another score each time, and means to."""

    # Not plain properties, which a subclass could not assign to.
    @cached_property
    def identity(self) -> str | None:
        """What settles a score besides the clip and `max_dur`; None: scores are kept in the run's own folder only."""
        return None

    @cached_property
    def digest(self) -> str | None:
        """SHA-256 over weights and configuration, for the run's metadata."""
        return None

    @cached_property
    def weights_digest(self) -> str | None:
        """SHA-256 over the weights that are used and what else settles scores: where it is the same, scores are too.

        By default `digest`, which may be over whole files; for the run's metadata.
        """
        return self.digest

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Plain values for the run's metadata; read after scoring."""
        return {}

    @cached_property
    def projections(self) -> "Mapping[str, nn.Linear]":
        """The last linear layers before embeddings or scores, by name, as they were loaded; for the collapse check."""
        return {}

    @cached_property
    def clips_at_once(self) -> int | None:
        """How many clips a model behind a service would like in one call; None for a model that computes here.

        Where it is a number, `prepare` and `finish` are called, and the run's `batch_size` does not hold.
        """
        return None

    @property
    def is_remote(self) -> bool:
        """Whether the model sends clips to a service, waits rather than computes, and has to be paid."""
        return self.clips_at_once is not None

    @property
    def implementation(self) -> Any:
        """The object whose class the user named: the model itself, or what an adapter wraps."""
        return self

    @property
    def computed_by(self) -> Sequence[object]:
        """The objects whose classes' code settles a score: that one, or the parts of a model made of several."""
        return (self.implementation,)

    @property
    def class_name(self) -> str:
        """The name of that class, for messages."""
        return type(self.implementation).__name__

    def bind_rows(self, rows: Iterable[LabelledRow]) -> None:  # noqa: B027
        """Take the rows that will be scored, with their labels; for a model that needs labels."""

    def prepare(self, work: WorkAhead) -> None:  # noqa: B027
        """Take note of what is coming, in each process, before the first `score_batch`; for a remote model.

        Raises:
            RunError: The run is not to start, such as for its cost.
        """

    def finish(self) -> None:  # noqa: B027
        """Take note that nothing more is coming, also where the run ends early; for a remote model."""


class AudioView(NamedTuple):
    """The part of a file that an embedding model uses, and how it is cut."""

    name: str
    """Describes the cut; with the file's bytes and the encoder it settles the embedding."""
    seconds: float | None
    """How much is decoded, from the file's start; None for all."""
    chunk_seconds: float | None = None
    """Longest piece that is encoded by itself; None where there is no such limit."""


@dataclass(frozen=True)
class EmbeddedInput:
    """A clip and its instruction, embedded."""

    windows: "Sequence[Tensor]"
    """Frames [time, dim] of each window of the clip; windows are scored apart and their scores averaged."""
    text: "Tensor"
    """Tokens [tokens, dim] of the prompt."""
    lyrics: "Tensor"
    """Tokens [tokens, dim] of the lyrics."""
    ref_audio: "Tensor | None"
    """Frames [time, dim] of the reference, or None."""


class EmbeddingModel(BenchmarkModelABC):
    """An encoder-and-head model: unique audio and text are embedded once, cached, and scored from the embeddings.

    The identities are content addresses: digests of weights, configuration and whatever else decides over the
    numbers. Models that share an encoder have the same identity for it, and share embeddings.
    """

    is_common_space: bool = False
    """Whether embeddings of audio and text lie in one space, where their cosine is the score."""
    embeds_on_device: bool = False
    """Whether `embed_audio` takes waveforms that are on its device already; else they come on the CPU."""

    @cached_property
    def encoders(self) -> "Sequence[nn.Module]":
        """The networks that alone make the embeddings, for a model that is scored from memory while it is trained.

        Where they have not changed, embeddings are used again. Empty: any part of the model may make them.
        """
        return ()

    @property
    def embedder(self) -> "EmbeddingModel":
        """The model whose code makes the embeddings: this one, unless it scores what another one embeds."""
        return self

    @property
    def encoder_digest(self) -> str | None:
        """SHA-256 over the weights that make embeddings, for heads that were trained on them; None: nobody knows."""
        return self.weights_digest

    @cached_property
    def operations_per_second(self) -> float | None:
        """Floating-point operations of encoding a second of audio, as plain modules do it; None: not counted."""
        return None

    @property
    @abstractmethod
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`."""

    @property
    @abstractmethod
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""

    @property
    @abstractmethod
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""

    @abstractmethod
    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return which part of a clip, or of a reference, is used under `max_dur` seconds."""

    @abstractmethod
    def embed_audio(self, waveforms: "Sequence[Tensor]", max_dur: float, *, is_reference: bool) -> "list[list[Tensor]]":
        """Embed waveforms float32 [samples], decoded as in the view: of each its windows' frames [time, dim].

        Raises:
            AudioError: A waveform is too short.
        """

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> "list[Tensor]":
        """Embed prompts or lyrics: of each its tokens [tokens, dim]."""

    @abstractmethod
    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> "npt.NDArray[np.floating[Any]]":
        """Score embedded clips: array [N, 2], or [M, N, 2] of an ensemble, as from `score_batch`."""

    def pooling(self, kind: InputKind) -> str:
        """Return a name for what `pool` does with an embedding of this kind; "" where it leaves it as it is.

        With the embedding's own address it settles the pooled one.
        """
        return ""

    def pool(self, embedding: "Tensor", kind: InputKind) -> "Tensor":
        """Shorten an embedding [length, dim] as the head does first, where that has no parameters.

        What a head is trained on; `score_embedded` takes embeddings as they are.

        Returns:
            [shorter, dim], on the same device.
        """
        return embedding
