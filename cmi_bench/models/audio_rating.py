"""A base for models that rate audio in several named ways, whatever it was made from."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmi_bench.content import content_key
from cmi_bench.errors import UserError
from cmi_bench.models.contract import MUSICALITY_COLUMN, EmbeddedInput, UnusedInput
from cmi_bench.models.embedding_scorer import EmbeddingScorer
from cmi_bench.suggest import did_you_mean

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
            option: What the user calls the choice.

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
    @abstractmethod
    def audio_identity(self) -> str:
        """What settles the ratings besides the audio and its view."""

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
