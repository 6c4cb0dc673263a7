"""Tell "the model does not judge this" from "the model failed on this clip"."""

import math
from collections.abc import Iterable, Mapping

from cmi_bench.data.datasets import Judgement
from cmi_bench.inference.scores import ClipScore, failed


def judged_by(scores: Iterable[ClipScore]) -> frozenset[Judgement]:
    """Return what the model judges: the columns in which it has given any clip a number."""
    valid = [score for score in scores if not score.error]
    return frozenset(
        judgement for judgement in Judgement if any(not math.isnan(getattr(score, judgement)) for score in valid)
    )


def mark_partial_nan(scores: Mapping[str, ClipScore]) -> dict[str, ClipScore]:
    """Turn a NaN in a column that the model does judge elsewhere into a failure of that clip."""
    judged = judged_by(scores.values())
    return {key: _nan_is_failure(score, judged) for key, score in scores.items()}


def _nan_is_failure(score: ClipScore, judged: frozenset[Judgement]) -> ClipScore:
    missing = [name for name in sorted(judged) if math.isnan(getattr(score, name))]
    if score.error or not missing:
        return score
    return failed(score.clip_id, f"the model returned NaN for {' and '.join(missing)}, which it judges elsewhere")
