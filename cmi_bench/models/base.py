"""The public contract between the benchmark and a reward model.

It is the contract of the public CMI-RewardBench scripts, so that adapters written for those run
unchanged: a class with a property `sr` and a method `score_batch`. Inheriting from
`BenchmarkModelABC` is a courtesy to type checkers; any class that looks like it is accepted.

What a model behind a paid service may say and be told beyond the contract.

The module that adapters for the public CMI-RewardBench scripts import, where those scripts are not at hand.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cmi_bench.types import Clip

if TYPE_CHECKING:
    from torch import Tensor


AudioInput = Literal["path", "waveform"]
"""What a model is handed as `audio`: a file path, or the decoded mono waveform at the model's `sr`."""

UnusedInput = Literal["text", "lyrics", "ref_audio"]
"""A field of `BenchmarkBatchInput` that a model's scores do not depend on."""

ALIGNMENT_COLUMN = 0
MUSICALITY_COLUMN = 1


@dataclass(frozen=True)
class BenchmarkBatchInput:
    """One clip to score, with the instruction it was generated from."""

    audio: "str | Tensor"
    """Path, or mono waveform [samples] at the model's `sr` (float32 in [-1, 1])."""
    text: str = ""
    """The prompt; may be empty."""
    lyrics: str = ""
    """The lyrics asked for; may be empty."""
    ref_audio: "str | Tensor | None" = None
    """Reference audio in the same form as `audio`, or None."""
    clip_id: str = ""
    """Which row and side this is. For messages and known-answer models; a judge does not look at it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the four fields of the public scripts' payload."""
        return {"audio": self.audio, "text": self.text, "lyrics": self.lyrics, "ref_audio": self.ref_audio}


@runtime_checkable
class RewardModel(Protocol):
    """What the benchmark needs of a model.

    A model may also have an attribute `audio_input` ("path", the default, or "waveform": then the
    benchmark decodes in its own workers), an attribute `unused_inputs` (the set of `UnusedInput` that
    its scores do not depend on: it is not given them, and clips that differ in nothing else are scored
    once), an attribute `facts` (plain values, read after scoring, for `metadata.json`), and `to(device)`.
    """

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.floating[Any]]:
        """Score clips.

        Args:
            inputs: The N clips.
            batch_size: How many the caller would like scored at once; a model may do otherwise.
            max_dur: Seconds of each clip, from its start, that may be looked at.

        Returns:
            Array [N, 2], column 0 alignment, column 1 musicality; NaN in a column means that the
            model does not judge it.

        Raises:
            SomeFailedError: Clips of the batch cannot be scored, and it is known which. After any other
                exception the benchmark asks again, in halves, until it has found them.
        """


class SomeFailedError(Exception):
    """Some clips of a batch could not be scored; the others were, and need not be asked for again."""

    def __init__(self, scores: npt.NDArray[np.floating[Any]], reasons: Mapping[int, str]) -> None:
        """Say which.

        Args:
            scores: As `score_batch` returns them; the rows of the clips that failed are not looked at.
            reasons: Why a clip failed, by its place in the batch.
        """
        super().__init__("; ".join(f"clip {place}: {reason}" for place, reason in reasons.items()))
        self.scores = scores
        self.reasons = reasons


class AudioView(NamedTuple):
    """How an embedding model listens to a file."""

    name: str
    """Says what is cut from the file and how; with the file's bytes and the encoder it settles the embedding."""
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


@runtime_checkable
class EmbeddingModel(Protocol):
    """An encoder-and-head model: whoever says this much gets deduplication, the cache and cheap sweeps.

    The identities are content addresses: digests of weights, configuration and whatever else decides
    over the numbers. Models that share an encoder have the same identity for it, and share embeddings.
    """

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`."""

    @property
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""

    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return how a clip, or a reference, is listened to under `max_dur` seconds."""

    def embed_audio(self, waveforms: "Sequence[Tensor]", max_dur: float, *, is_reference: bool) -> "list[list[Tensor]]":
        """Embed waveforms float32 [samples], decoded as the view says: of each its windows' frames [time, dim].

        Raises:
            AudioError: A waveform is too short.
        """

    def embed_texts(self, texts: Sequence[str]) -> "list[Tensor]":
        """Embed prompts or lyrics: of each its tokens [tokens, dim]."""

    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> npt.NDArray[np.floating[Any]]:
        """Score embedded clips: array [N, 2], as from `RewardModel.score_batch`."""


class BenchmarkModelABC(ABC):
    """Base class for reward models; see `RewardModel` for the meaning of its members."""

    audio_input: AudioInput = "path"
    digest_dir: Path | None = None
    """Where a model may keep digests of its weights from run to run; set by the benchmark, which knows its cache."""

    @property
    @abstractmethod
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""

    @abstractmethod
    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.floating[Any]]:
        """Score clips; see `RewardModel.score_batch`."""


class ClipAhead(NamedTuple):
    """A clip that is about to be scored, and how long its audio is."""

    clip: Clip
    seconds: float | None
    """Length of the clip's file; None where its header does not say."""
    ref_seconds: float | None
    """Length of the reference's file; None where there is none, or its header does not say."""


class WorkAhead(NamedTuple):
    """What a run is about to ask of a model."""

    clips: Sequence[ClipAhead]
    """What no earlier run has scored; on rank 0 only."""
    max_dur: float
    """Seconds of each file that may be looked at."""
    folder: Path
    """Where the run keeps the scores: a place for what belongs to them."""
    processes: int
    """How many share the work."""
    resume: bool
    """Whether what earlier runs left is to be used."""


@runtime_checkable
class RemoteModel(Protocol):
    """A reward model that sends clips to a service, waits rather than computes, and has to be paid."""

    @property
    def clips_at_once(self) -> int:
        """How many clips it would like in one call of `score_batch`, instead of the run's `batch_size`."""

    def prepare(self, work: WorkAhead) -> None:
        """Hear what is coming, in each process, before the first `score_batch`.

        Raises:
            RunError: The run is not to start, such as for its cost.
        """

    def finish(self) -> None:
        """Hear that nothing more is coming, also where the run ends early."""


MODULE = "core.model_abc"
"""Where the public repository has the contract."""
_PACKAGE = MODULE.partition(".")[0]


def is_public_name(module: str | None) -> bool:
    """Whether a module that was not found is the public contract's."""
    return module in (_PACKAGE, MODULE)


def provide_public_names() -> None:
    """Make `from core.model_abc import BenchmarkBatchInput, BenchmarkModelABC` give the contract's own."""
    contract = ModuleType(MODULE, "The benchmark's contract, under its name in the public repository.")
    vars(contract).update(BenchmarkBatchInput=BenchmarkBatchInput, BenchmarkModelABC=BenchmarkModelABC)
    package = sys.modules.setdefault(_PACKAGE, ModuleType(_PACKAGE))
    vars(package).setdefault("__path__", [])
    vars(package)["model_abc"] = contract
    sys.modules[MODULE] = contract
