"""A base for models with one space for audio and text: alignment is how near the two come."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from torch import Tensor

import cmi_bench
from cmi_bench.content import content_key
from cmi_bench.errors import UserError
from cmi_bench.models.cmi_rm.precision import Precision
from cmi_bench.models.contract import ALIGNMENT_COLUMN, EmbeddedInput, UnusedInput
from cmi_bench.models.embedding_scorer import EmbeddingScorer
from cmi_bench.suggest import did_you_mean

Reference = Literal["ignore", "mean", "only"]

NO_TEXT = "music"
"""Stands for an empty prompt, as in the reference scores that MuQ-MuLan is tested against."""


class TextSimilarity(EmbeddingScorer):
    """Judges alignment by cosine similarity with the prompt; musicality is not applicable, lyrics are not read.

    The similarity is the mean over the clip's windows. Where a clip has reference audio, `reference` says what
    becomes of it: "ignore" looks at the prompt only; "mean" takes the mean of the similarity to the prompt and of
    that to the reference (over all pairs of windows); "only" takes the latter. A clip without reference is compared
    with its prompt in any case.
    """

    family: ClassVar[str]
    """Tells models of one kind from others in their identities."""
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
        return self._tower("audio")

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""
        return self._tower("text")

    def _tower(self, tower: str) -> str:
        return content_key(
            model=f"{self.family} {tower}", files=self.digest, precision=self.precision, code=cmi_bench.__version__
        )

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed prompts, "music" in place of an empty one: of each its latent [1, dim], of length 1."""
        return self.embed_words([text if text.strip() else NO_TEXT for text in texts])

    @abstractmethod
    def embed_words(self, texts: Sequence[str]) -> list[Tensor]:
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
