"""A base for models that embed audio and text apart: one vector a clip, one a text, scores from those."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cmi_bench.audio.decode import AudioError
from cmi_bench.content import files_digest
from cmi_bench.errors import UserError
from cmi_bench.models.contract import (
    AudioInput,
    AudioView,
    BenchmarkBatchInput,
    BenchmarkModelABC,
    EmbeddedInput,
    UnusedInput,
)
from cmi_bench.models.hear import hear
from cmi_bench.models.known_digests import known_digest


class EmbeddingScorer(BenchmarkModelABC):
    """Makes `score_batch` of the steps of `models.contract.EmbeddingModel`.

    What a subclass has to say: how audio and texts become vectors, and vectors scores.
    """

    audio_input: AudioInput = "waveform"
    unused_inputs: frozenset[UnusedInput] = frozenset()
    min_samples: ClassVar[int] = 1
    """The shortest waveform that can be judged."""
    chunk_seconds: float | None = None
    """Longest piece that is encoded by itself; None where there is no such limit."""
    files: tuple[Path, ...]
    """Whatever makes the embeddings what they are: weights, configurations, tokenizer."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over weights, configurations and tokenizer: hexadecimal. Reads all of the weights, once."""
        return known_digest(self.digest_dir, self.files, lambda: files_digest(self.files))

    @property
    @abstractmethod
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`; see `models.contract.EmbeddingModel`."""

    @property
    @abstractmethod
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""

    @property
    @abstractmethod
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""

    @abstractmethod
    def embed_heard(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Embed waveforms float32 [samples], each cropped and long enough, on the CPU: of each a vector [1, dim]."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed prompts or lyrics: of each a vector [1, dim], or nothing [0, dim]."""

    @abstractmethod
    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> npt.NDArray[np.floating[Any]]:
        """Score embedded clips: array [N, 2], as from `RewardModel.score_batch`."""

    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return how a clip is listened to under `max_dur` seconds; a reference is listened to like any other clip."""
        return AudioView(f"the first {max_dur:g} s", max_dur, self.chunk_seconds)

    def embed_audio(self, waveforms: Sequence[Tensor], max_dur: float, *, is_reference: bool) -> list[list[Tensor]]:
        """Embed waveforms float32 [samples]: of each one window, a vector [1, dim].

        Raises:
            AudioError: A waveform is too short, or its embedding is no number.
        """
        return [[vector] for vector in self._vectors(waveforms, max_dur, ["The audio"] * len(waveforms))]

    def _vectors(self, waveforms: Sequence[Tensor], max_dur: float, names: Sequence[str]) -> list[Tensor]:
        heard = [waveform[: int(max_dur * self.sr)] for waveform in waveforms]
        for waveform, name in zip(heard, names, strict=True):
            if len(waveform) < self.min_samples:
                raise AudioError(
                    f"{name} is too short: {len(waveform)} samples at {self.sr} Hz; {type(self).__name__} needs"
                    f" {self.min_samples}.",
                    "Leave the clip out, or raise max_dur.",
                )
        embedded = self.embed_heard(heard)
        for vector, name in zip(embedded, names, strict=True):
            if not vector.isfinite().all():  # NaN would read as "not judged"
                raise AudioError(f"{name} has no finite score.", "Does its audio hold NaN or infinite samples?")
        return embedded

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.floating[Any]]:
        """Score clips; see `RewardModel.score_batch`. No keyword is taken; no score depends on `batch_size`.

        Raises:
            AudioError: A clip cannot be decoded, is too short or has no finite score; the message names it.
        """
        if kwargs:
            raise UserError(f"{type(self).__name__}.score_batch takes no option {min(kwargs)!r}.", "Set model.*.")
        if not inputs:
            return np.zeros((0, 2), dtype=np.float32)
        names = [one.clip_id or f"number {index}" for index, one in enumerate(inputs)]
        return self.score_embedded([self._embed(one, name, max_dur) for one, name in zip(inputs, names, strict=True)])

    def _embed(self, one: BenchmarkBatchInput, name: str, max_dur: float) -> EmbeddedInput:
        reference = None if "ref_audio" in self.unused_inputs else one.ref_audio
        return EmbeddedInput(
            windows=[self._listen(one.audio, f"Clip {name}", max_dur)],
            text=self._read(one.text, "text"),
            lyrics=self._read(one.lyrics, "lyrics"),
            ref_audio=None if reference is None else self._listen(reference, f"The reference of clip {name}", max_dur),
        )

    def _listen(self, audio: str | Tensor, name: str, max_dur: float) -> Tensor:
        waveform = hear(audio, name, sr=self.sr, seconds=max_dur)
        return self._vectors([waveform], max_dur, [name])[0]

    def _read(self, text: str, kind: UnusedInput) -> Tensor:
        return self.embed_texts(["" if kind in self.unused_inputs else text])[0]
