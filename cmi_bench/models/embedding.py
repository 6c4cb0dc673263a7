"""Bases of models that embed audio and text apart and score from the embeddings.

`EmbeddingScorer` makes `score_batch` of a model's steps; `AudioRating` rates audio on several named scales, whatever it
was made from; `TextSimilarity` takes the similarity of audio and prompt in a common space as alignment.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import cmi_bench
from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.base import (
    ALIGNMENT_COLUMN,
    MUSICALITY_COLUMN,
    AudioInput,
    AudioView,
    BenchmarkBatchInput,
    EmbeddedInput,
    EmbeddingModel,
    UnusedInput,
)
from cmi_bench.models.batching import Precision, audio_arithmetic
from cmi_bench.models.checkpoint_names import WEIGHTS_SUFFIXES
from cmi_bench.models.weights import known_digest, tensors_digest
from cmi_bench.utils.files import content_key, files_digest


def load_waveform(audio: str | Path | Tensor, name: str, *, sr: int, seconds: float | None) -> Tensor:
    """Return a clip's waveform float32 [samples] on the CPU.

    Args:
        audio: A path, or a mono waveform at `sr` Hz, of which nothing is cut off.
        name: Its name in messages.
        sr: Sampling rate, Hz.
        seconds: How much is decoded of a file; None for all.

    Raises:
        AudioError: It cannot be decoded, or is no mono waveform; the message names it.
    """
    if isinstance(audio, str | Path):
        return decode(audio, sr, seconds)
    waveform = torch.as_tensor(audio, dtype=torch.float32, device="cpu").detach()
    if waveform.ndim != 1:
        raise AudioError(
            f"{name} is a tensor of shape {list(waveform.shape)}; expected a mono waveform [samples].",
            "Average the channels first.",
        )
    return waveform


class EmbeddingScorer(EmbeddingModel):
    """Makes `score_batch` of the steps of `models.base.EmbeddingModel`.

    A subclass defines how audio and texts become vectors, and vectors scores.
    """

    audio_input: AudioInput = "waveform"
    unused_inputs: frozenset[UnusedInput] = frozenset()
    embeds_on_device = True
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
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors that decide over the embeddings, by name, as they were loaded."""

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 over the tensors that are used, the configurations and the tokenizer: hexadecimal."""
        tensors = self.tensors
        weights = [file for file in self.files if file.suffix in WEIGHTS_SUFFIXES]
        digest = known_digest(
            self.digest_dir,
            weights,
            lambda: tensors_digest(tensors),
            model=type(self).__name__,
            tensors={name: list(tensor.shape) for name, tensor in tensors.items()},
        )
        return content_key(weights=digest, files=files_digest(file for file in self.files if file not in weights))

    @abstractmethod
    def encode_waveforms(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Embed waveforms float32 [samples], each cropped and long enough: of each a vector [1, dim].

        They are on the CPU, or on the model's device.
        """

    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return which part of a clip is used under `max_dur` seconds; a reference is treated like any other clip."""
        return AudioView(f"the first {max_dur:g} s", max_dur, self.chunk_seconds)

    def embed_audio(self, waveforms: Sequence[Tensor], max_dur: float, *, is_reference: bool) -> list[list[Tensor]]:
        """Embed waveforms float32 [samples]: of each one window, a vector [1, dim].

        Raises:
            AudioError: A waveform is too short, or its embedding is no number.
        """
        return [[vector] for vector in self._vectors(waveforms, max_dur, ["The audio"] * len(waveforms))]

    def _vectors(self, waveforms: Sequence[Tensor], max_dur: float, names: Sequence[str]) -> list[Tensor]:
        cropped = [waveform[: int(max_dur * self.sr)] for waveform in waveforms]
        for waveform, name in zip(cropped, names, strict=True):
            if len(waveform) < self.min_samples:
                raise AudioError(
                    f"{name} is too short: {len(waveform)} samples at {self.sr} Hz; {type(self).__name__} needs"
                    f" {self.min_samples}.",
                    "Leave the clip out, or raise max_dur.",
                )
        embedded = self.encode_waveforms(cropped)
        for vector, name in zip(embedded, names, strict=True):
            if not vector.isfinite().all():  # NaN would read as "not judged"
                raise AudioError(f"{name} has no finite score.", "Does its audio hold NaN or infinite samples?")
        return embedded

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.floating[Any]]:
        """Score clips; see `BenchmarkModelABC.score_batch`. No keyword is taken; no score depends on `batch_size`.

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
            windows=[self._embed_audio(one.audio, f"Clip {name}", max_dur)],
            text=self._embed_text(one.text, "text"),
            lyrics=self._embed_text(one.lyrics, "lyrics"),
            ref_audio=None
            if reference is None
            else self._embed_audio(reference, f"The reference of clip {name}", max_dur),
        )

    def _embed_audio(self, audio: str | Tensor, name: str, max_dur: float) -> Tensor:
        waveform = load_waveform(audio, name, sr=self.sr, seconds=max_dur)
        return self._vectors([waveform], max_dur, [name])[0]

    def _embed_text(self, text: str, kind: UnusedInput) -> Tensor:
        return self.embed_texts(["" if kind in self.unused_inputs else text])[0]


MEAN = "mean"
"""In place of a rating's name: the mean of all of them."""


class AudioRating(EmbeddingScorer):
    """Judges musicality by one of its ratings, or by their mean; alignment is not applicable.

    A clip's ratings are its embedding: the cache keeps all of them, so that another one costs no second pass.
    """

    unused_inputs: frozenset[UnusedInput] = frozenset({"text", "lyrics", "ref_audio"})
    ratings: ClassVar[tuple[str, ...]]
    """Their names, in the order of the embedding's columns."""

    def __init__(self, rating: str, option: str) -> None:
        """Choose what the musicality column is.

        Args:
            rating: One of `ratings`, or "mean".
            option: The option's name, for messages.

        Raises:
            UserError: There is no such rating.
        """
        known = (*self.ratings, MEAN)
        if rating not in known:
            raise UserError(f"{option}={rating!r} is none of {', '.join(known)}.", did_you_mean(rating, known))
        self.rating = rating

    @cached_property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`."""
        return content_key(ratings=self.audio_identity, column=self.rating)

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text: none is made."""
        return content_key(model="no text")

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Return nothing [0, 1] for each text."""
        return [torch.zeros(0, 1) for _ in texts]

    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> npt.NDArray[np.floating[Any]]:
        """Return the chosen rating of each clip: float32 [N, 2], column 0 NaN."""
        scores = np.full((len(clips), 2), np.nan, dtype=np.float32)
        for row, clip in zip(scores, clips, strict=True):
            found = clip.windows[0][0].float().cpu()
            row[MUSICALITY_COLUMN] = found.mean() if self.rating == MEAN else found[self.ratings.index(self.rating)]
        return scores


Reference = Literal["ignore", "mean", "only"]

NO_TEXT = "music"
"""Stands for an empty prompt, as in the reference scores that MuQ-MuLan is tested against."""


class TextSimilarity(EmbeddingScorer):
    """Judges alignment by cosine similarity with the prompt; musicality is not applicable, lyrics are not read.

    The similarity is the mean over the clip's windows. `reference` is the use of a clip's reference audio: "ignore"
    compares with the prompt only; "mean" takes the mean of the similarity to the prompt and of that to the reference
    (over all pairs of windows); "only" takes the latter. A clip without reference is compared
    with its prompt in any case.
    """

    family: ClassVar[str]
    """Name of the kind of model, in identities."""
    is_common_space = True
    precision: Precision

    def __init__(self, reference: str) -> None:
        """Choose what a reference contributes.

        Raises:
            UserError: There is no such choice.
        """
        known = get_args(Reference)
        if reference not in known:
            raise UserError(f"reference={reference!r} is none of {', '.join(known)}.", did_you_mean(reference, known))
        self.reference = reference
        unused: set[UnusedInput] = {"lyrics", "ref_audio"} if reference == "ignore" else {"lyrics"}
        self.unused_inputs = frozenset(unused)

    @cached_property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`."""
        return content_key(audio=self.audio_identity, text=self.text_identity, reference=self.reference)

    @property
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""
        return self._tower("audio", audio_arithmetic(self.precision))

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""
        return self._tower("text", "32")

    def _tower(self, tower: str, arithmetic: str) -> str:
        return content_key(
            model=f"{self.family} {tower}", files=self.digest, precision=arithmetic, code=cmi_bench.__version__
        )

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed prompts, "music" in place of an empty one: of each its latent [1, dim], of length 1."""
        return self.encode_texts([text if text.strip() else NO_TEXT for text in texts])

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed texts, none of them empty: of each its latent [1, dim], of length 1."""

    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> npt.NDArray[np.floating[Any]]:
        """Compare each clip with its prompt, and its reference: float32 [N, 2], between -1 and 1; column 1 NaN."""
        scores = np.full((len(clips), 2), np.nan, dtype=np.float32)
        for row, clip in zip(scores, clips, strict=True):
            row[ALIGNMENT_COLUMN] = self._alignment(clip)
        return scores

    def _alignment(self, clip: EmbeddedInput) -> float:
        # Latents are means of vectors of length 1, so a product of two is the mean of all pairs' cosines.
        audio = clip.windows[0][0].double().cpu()
        to_text = float(audio @ clip.text[0].double().cpu())
        if clip.ref_audio is None or self.reference == "ignore":
            return to_text
        to_reference = float(audio @ clip.ref_audio[0].double().cpu())
        return to_reference if self.reference == "only" else (to_text + to_reference) / 2
