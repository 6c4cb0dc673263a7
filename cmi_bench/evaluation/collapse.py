"""Signs of a model that cannot tell songs apart: equal scores, equal embeddings, projections that were never trained.

A model that collapsed runs without an error and gives correlations near 0, which read like a poor model's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data import fields
from cmi_bench.data.fields import SCORE_FIELD
from cmi_bench.evaluation.protocols import number
from cmi_bench.evaluation.reading import ResultRow
from cmi_bench.types import Aspect
from cmi_bench.utils.files import text_number

FEWEST = 3
"""Distinct clips below which nothing is concluded from scores or embeddings."""
LARGEST_COSINE = 0.9
"""Mean pairwise cosine in a space of audio and text: .31 is a working CLAP's, .92 a collapsed one's."""
LARGEST_EQUAL_SHARE = 0.5
"""Share of clips with one and the same score."""
SMALLEST_SPREAD = 1e-6
"""Standard deviation of scores, relative to their mean's size where that is above 1; and 1 - cosine of embeddings that
are compared otherwise than by cosine."""


class Layer(NamedTuple):
    """A linear layer's numbers."""

    weight: NDArray[np.floating[Any]]
    """[out, in]."""
    bias: NDArray[np.floating[Any]] | None
    """[out]."""


@dataclass(frozen=True)
class CollapseCheck:
    """What was measured, and what of it is a sign of collapse; each a clause for messages."""

    measured: tuple[str, ...]
    signs: tuple[str, ...]


def check_collapse(
    scores: Mapping[str, NDArray[np.floating[Any]]],
    embeddings: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    layers: Mapping[str, Layer] | None = None,
    *,
    is_common_space: bool = False,
) -> CollapseCheck:
    """Measure how far a model tells clips apart.

    Args:
        scores: By aspect, [n] of distinct clips; NaN for what was not judged or failed.
        embeddings: By kind (audio, text), [n, dim] of distinct audio or texts.
        layers: The last projections before embeddings or scores, by name.
        is_common_space: Whether embeddings of audio and text are compared by cosine.
    """
    found = [_scores(name, values) for name, values in scores.items()]
    found += [_embeddings(name, values, is_common_space=is_common_space) for name, values in (embeddings or {}).items()]
    found += [_layer(name, layer) for name, layer in (layers or {}).items()]
    kept = [one for one in found if one is not None]
    return CollapseCheck(tuple(one.text for one in kept), tuple(one.text for one in kept if one.is_sign))


class ClipScores:
    """Reads of results rows what each clip scored; clips that are the same in several rows count once.

    Of more than `MOST_CLIPS` clips it keeps so many, chosen by what they are and not by where they stand: a sample in
    which any clip is as likely as any other.
    """

    def __init__(self) -> None:
        self._scores: dict[Aspect, dict[int, float]] = {aspect: {} for aspect in Aspect}
        self._below = dict.fromkeys(Aspect, ALL)

    def take(self, row: ResultRow) -> None:
        """Look at a row."""
        raw = row.raw
        for side, audio in (("", fields.AUDIO_A), (fields.SIDE_B, fields.AUDIO_B)):
            said = {aspect: raw.get(field + side) for aspect, field in SCORE_FIELD.items()}
            known = [aspect for aspect, value in said.items() if not fields.is_missing(value)]
            if known and not fields.is_missing(raw.get(audio)):
                clip = text_number(repr([str(raw.get(key)) for key in (audio, *CONDITION)]))
                for aspect in known:
                    if clip < self._below[aspect]:
                        self._keep(aspect, clip, number(said[aspect]))

    def _keep(self, aspect: Aspect, clip: int, score: float) -> None:
        scores = self._scores[aspect]
        scores[clip] = score
        if len(scores) > 2 * MOST_CLIPS:
            self._scores[aspect] = self._lowest(aspect)
            self._below[aspect] = max(self._scores[aspect]) + 1

    def _lowest(self, aspect: Aspect) -> dict[int, float]:
        kept = set(sorted(self._scores[aspect])[:MOST_CLIPS])
        return {clip: score for clip, score in self._scores[aspect].items() if clip in kept}

    def notes(self) -> list[str]:
        """Return a sentence for each aspect whose scores are a sign of collapse."""
        scores = {aspect.value: np.array(list(self._lowest(aspect).values())) for aspect in Aspect}
        sample = ", of a sample of the clips" if any(limit < ALL for limit in self._below.values()) else ""
        return [f"The model cannot tell these songs apart: {sign}{sample}." for sign in check_collapse(scores).signs]


ALL = 1 << 63
"""Above the number that stands for any clip."""
MOST_CLIPS = 50_000
"""Distinct clips that are looked at in results."""
CONDITION = (fields.PROMPT, fields.LYRICS, fields.REF_AUDIO)
"""What a clip is scored with, beside its audio."""


class _Finding(NamedTuple):
    text: str
    is_sign: bool


def _scores(name: str, values: NDArray[np.floating[Any]]) -> _Finding | None:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size < FEWEST:
        return None
    equal = np.unique(known, return_counts=True)[1].max() / known.size
    spread = float(known.std())
    is_sign = equal > LARGEST_EQUAL_SHARE or spread <= SMALLEST_SPREAD * max(1.0, abs(float(known.mean())))
    text = f"{name} of {known.size:,} clips has standard deviation {spread:.2g}, {equal:.0%} have the same score"
    return _Finding(text, bool(is_sign))


def _embeddings(name: str, vectors: NDArray[np.floating[Any]], *, is_common_space: bool) -> _Finding | None:
    if len(vectors) < FEWEST or not vectors.shape[1]:
        return None
    cosine = mean_pairwise_cosine(vectors)
    limit = LARGEST_COSINE if is_common_space else 1 - SMALLEST_SPREAD
    text = f"{len(vectors)} {name} embeddings have a mean pairwise cosine of {cosine:.4f}"
    return _Finding(text, not cosine <= limit)


def mean_pairwise_cosine(vectors: NDArray[np.floating[Any]]) -> float:
    """Return the mean cosine of all pairs of vectors [n, dim], n at least 2; a vector of length 0 equals every other.

    By the length of the sum of unit vectors, so that it takes n steps and not n squared.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not lengths.all():
        return 1.0
    total = (wide / lengths).sum(axis=0)
    count = len(wide)
    return float((total @ total - count) / (count * (count - 1)))


def _layer(name: str, layer: Layer) -> _Finding | None:
    initial = initial_values(layer)
    return _Finding(f"{name} {initial}", is_sign=True) if initial else None


def initial_values(layer: Layer) -> str:
    """Return how a linear layer shows that it was never trained; "" where it does not.

    Signs are a bias of zeros (as `transformers` initialises), equal weights, and weights spread evenly up to PyTorch's
    bound for its own initial ones, the root of 1 / inputs.
    """
    weight = np.asarray(layer.weight, dtype=np.float64)
    if not np.ptp(weight):
        return "has all weights equal"
    if layer.bias is not None and layer.bias.size > 1 and not np.any(layer.bias):
        return "has a bias of zeros, its initial value"
    bound = 1 / math.sqrt(weight.shape[1])
    is_at_bound = 1 - 20 / weight.size < np.abs(weight).max() / bound <= 1 + 1e-6
    is_even = abs(weight.std() * math.sqrt(3) / bound - 1) < 3 / math.sqrt(weight.size)
    return "has weights spread evenly up to PyTorch's initial bound" if is_at_bound and is_even else ""
