"""The results file: each row's own fields, the model's scores, and which side they prefer."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cmi_bench.config import ProtocolName
from cmi_bench.data import fields
from cmi_bench.data.fields import SCORE_FIELD
from cmi_bench.data.rows import Row
from cmi_bench.evaluation.protocols import preferred_side
from cmi_bench.scoring.requests import clip_id
from cmi_bench.types import Aspect, Score

PAIR_FIELDS = {
    fields.PREDICTED_PREFERENCE: Aspect.MUSICALITY,
    fields.PREDICTED_PREFERENCE_MUSICALITY: Aspect.MUSICALITY,
    fields.PREDICTED_PREFERENCE_ALIGNMENT: Aspect.ALIGNMENT,
}
"""The predicted preferences of a pair, and the score that decides each."""


RESULTS_PROTOCOL = ProtocolName.paper
"""Of equal scores the file says B, as the public files that other tools read; `strict` compares the scores itself."""


def results_rows(rows: Sequence[Row], scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """Return the lines of `results.jsonl`, in the rows' order; see `iter_results`.

    Args:
        rows: The rows of the run.
        scores: By clip id; one for each side of each row.
    """
    in_order = (scores[clip_id(row, side)] for row in rows for side in ("a", "b")[: 1 + (row.audio_b is not None)])
    return list(iter_results(rows, in_order, is_ensemble=any(score.members for score in scores.values())))


def iter_results(rows: Iterable[Row], scores: Iterable[Score], *, is_ensemble: bool) -> Iterator[dict[str, Any]]:
    """Yield the lines of `results.jsonl`.

    Args:
        rows: The rows of the run.
        scores: Of their clips, A before B, in the rows' order.
        is_ensemble: Whether the lines have the members' scores and their spread as well.
    """
    answers = iter(scores)
    for row in rows:
        a = next(answers)
        yield _results_row(row, a, None if row.audio_b is None else next(answers), is_ensemble=is_ensemble)


def _results_row(row: Row, a: Score, b: Score | None, *, is_ensemble: bool) -> dict[str, Any]:
    result = {**row.raw, fields.BENCHMARK_DATASET: row.dataset.name}
    for aspect, field in SCORE_FIELD.items():
        result[field] = _number(a.value(aspect))
        if b is not None:
            result[field + fields.SIDE_B] = _number(b.value(aspect))
    if b is not None:
        result |= {
            field: preferred_side(a.value(aspect), b.value(aspect), protocol=RESULTS_PROTOCOL)
            for field, aspect in PAIR_FIELDS.items()
        }
        result[fields.VALID_B] = not b.error
    result[fields.VALID_A] = not a.error
    result[fields.INFERENCE_ERROR] = "|".join(score.error for score in (a, b) if score is not None and score.error)
    if is_ensemble:
        result |= _members(a) if b is None else {**_members(a), **_members(b, fields.SIDE_B)}
    return result


def _members(score: Score, side: str = "") -> dict[str, Any]:
    """Return what the members of an ensemble say of a clip, and how far they differ; null where there is no score."""
    found: dict[str, Any] = {}
    for aspect, field in SCORE_FIELD.items():
        found[f"{field}{fields.SPREAD}{side}"] = spread = _number(score.spread(aspect))
        found[f"{field}{fields.MEMBERS}{side}"] = None if spread is None else list(score.of_members(aspect))
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
