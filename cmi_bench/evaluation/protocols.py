"""The two ways to read a results row: what its label is, and what the model answered.

`strict` takes labels at their word and looks at the scores; `paper` gives the numbers of the
public CMI-RewardBench evaluator. Labels and answers become numbers: a mean opinion score or a
model's score for single clips, a side (see `metrics.SIDE`) for pairs; NaN where there is none.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cmi_bench.config import ProtocolName
from cmi_bench.data import fields
from cmi_bench.data.datasets import MosTask, PairTask, Raw, Task
from cmi_bench.data.fields import LabelError, Preference, is_missing, parse_mos, parse_preference
from cmi_bench.evaluation.metrics import SIDE

TRUE_SPELLINGS = frozenset({"true", "1", "1.0"})
"""How JSON, and tables that went through other tools, say yes."""


@dataclass(frozen=True)
class Protocol:
    """How a results row is read, and whether failures count."""

    name: ProtocolName
    label: Callable[[Raw, Task], float]
    """The row's label for a task; NaN without one. May raise `LabelError`."""
    prediction: Callable[[Raw, Task], float]
    """The model's answer; NaN where it failed or gave none."""
    columns: Callable[[Task], tuple[str, ...]]
    """The predicted fields that `prediction` looks at."""
    scores_failures: bool
    """Whether a row without an answer counts as the worst answer; if not, it is dropped from n."""


def number(value: Any) -> float:
    """Read a number or its text; anything else is NaN, as for the public evaluator."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def preferred_side(score_a: float, score_b: float, *, protocol: ProtocolName) -> Preference | None:
    """Return the clip of a pair that a model's scores prefer.

    Args:
        score_a: Of clip A; NaN where there is none.
        score_b: Of clip B.
        protocol: Decides on equal scores: `strict` prefers both, `paper` prefers B, as the public files do.

    Returns:
        The clip with the higher score; None where a score is missing or infinite.

    >>> str(preferred_side(1.0, 1.0, protocol=ProtocolName.strict))
    'both'
    >>> str(preferred_side(1.0, 1.0, protocol=ProtocolName.paper))
    'model_b'
    """
    if not (math.isfinite(score_a) and math.isfinite(score_b)):
        return None
    if score_a == score_b:
        return Preference.BOTH if protocol is ProtocolName.strict else Preference.B
    return Preference.A if score_a > score_b else Preference.B


def _side(value: Any) -> float:
    preference = parse_preference(value)
    return math.nan if preference is None else SIDE[preference]


def _stated_side(value: Any) -> float:
    try:
        return _side(value)
    except LabelError:
        return math.nan


def score_fields(task: Task, suffix: str = "") -> tuple[str, str]:
    """Return where a results row keeps the scores that decide a task: of clip A, and of clip B.

    Args:
        task: Says which of the scores.
        suffix: What an ensemble keeps beside them: `fields.MEMBERS` or `fields.SPREAD`.
    """
    field = fields.SCORE_FIELD[task.aspect] + suffix
    return field, field + fields.SIDE_B


def _strict_label(raw: Raw, task: Task) -> float:
    value = raw.get(task.label_field)
    if isinstance(task, PairTask):
        return _side(value)
    score = parse_mos(value, task.scale)
    return math.nan if score is None else score


def _strict_prediction(raw: Raw, task: Task) -> float:
    if not all(_validity(raw)):
        return math.nan
    field_a, field_b = score_fields(task)
    score_a = number(raw.get(field_a))
    if isinstance(task, MosTask):
        return score_a if math.isfinite(score_a) else math.nan
    if field_a not in raw or field_b not in raw:
        return _stated_side(raw.get(task.predicted_field))
    score_b = number(raw[field_b])
    side = preferred_side(score_a, score_b, protocol=ProtocolName.strict)
    return math.nan if side is None else SIDE[side]


def _strict_columns(task: Task) -> tuple[str, ...]:
    fields_of_scores = score_fields(task)
    return (*fields_of_scores, task.predicted_field) if isinstance(task, PairTask) else fields_of_scores[:1]


PAPER_UNKNOWN = frozenset({"tie", "both_bad"})
"""Spellings of "both" that the public evaluator does not know: it drops such rows."""


def _paper_side(value: Any) -> float:
    return math.nan if str(value).strip().lower() in PAPER_UNKNOWN else _stated_side(value)


def _paper_label(raw: Raw, task: Task) -> float:
    value = raw.get(task.label_field)
    return _paper_side(value) if isinstance(task, PairTask) else number(value)


def _paper_prediction(raw: Raw, task: Task) -> float:
    value = raw.get(_paper_columns(task)[0])
    return _paper_side(value) if isinstance(task, PairTask) else number(value)


def _paper_columns(task: Task) -> tuple[str, ...]:
    return (task.predicted_field,) if isinstance(task, PairTask) else (fields.SCORE_FIELD[task.aspect],)


PROTOCOLS: Mapping[ProtocolName, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(ProtocolName.strict, _strict_label, _strict_prediction, _strict_columns, scores_failures=True),
        Protocol(ProtocolName.paper, _paper_label, _paper_prediction, _paper_columns, scores_failures=False),
    )
}


def _validity(raw: Raw) -> tuple[bool, ...]:
    """What the row says of whether inference worked, for each side that it speaks of."""
    stated = (raw.get(field) for field in (fields.VALID_A, fields.VALID_B))
    return tuple(str(value).strip().lower() in TRUE_SPELLINGS for value in stated if not is_missing(value))


def is_unjudged(raw: Raw, columns: tuple[str, ...]) -> bool:
    """Tell whether inference worked on a row and yet the model said nothing in these columns."""
    validity = _validity(raw)
    return bool(validity) and all(validity) and all(is_missing(raw.get(column)) for column in columns)


def is_silent(raw: Raw, columns: tuple[str, ...]) -> bool:
    """Tell whether a row has none of these columns, and nothing on whether inference worked."""
    return not _validity(raw) and not any(column in raw for column in columns)
