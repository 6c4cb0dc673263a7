"""How a model responds to perturbation: the change of its scores from the clean clip, and its trend over severity."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from cmi_bench.data.synthetic.degradation_set import DegradedClip
from cmi_bench.evaluation.comparison import holm
from cmi_bench.evaluation.metrics import Statistic, spearman, undefined
from cmi_bench.types import Aspect, Score


class StepChange(NamedTuple):
    """What one step does to the scores of one aspect."""

    kind: str
    step: str
    severity: int
    aspect: Aspect
    n: int
    """Pieces with a score both here and clean."""
    mean: float | None
    """Mean change from the clean clip; None for n = 0."""
    spread: float | None
    """Standard deviation of the change over pieces (n - 1 in the denominator); None for n < 2."""
    share_lower: float | None
    """Share of the pieces that score lower than clean; None for n = 0."""


class KindTrend(NamedTuple):
    """Whether the scores of one aspect follow the severity of one kind of damage."""

    kind: str
    aspect: Aspect
    correlation: Statistic
    """Spearman's, of severity and score along the steps of a piece, from clean on; the mean over pieces. -1 where
    more damage always means a lower score."""
    n: int
    """Pieces in the mean; one whose scores are all equal has no correlation and is left out."""
    p: float | None
    """That scores fall no more often than they rise, if the damage does not matter: exact one-sided sign flips of the
    pieces' changes, each the mean over the steps (`scipy.stats.permutation_test`). None without a change."""
    p_holm: float | None = None
    """`p` corrected for all kinds of damage under this aspect. With 7 kinds it can be below .05 from 8 pieces on."""

    @property
    def falls(self) -> bool:
        """Whether the scores fall significantly."""
        return self.p_holm is not None and self.p_holm <= ALPHA


ALPHA = 0.05
"""Level of significance over all kinds of damage under an aspect together."""
SCORE_DIGITS = 6
"""Decimals of a change that count: scores are repeatable to about 2e-7."""


class _Step(NamedTuple):
    kind: str
    step: str
    severity: int


class RobustnessResult(NamedTuple):
    """All perturbations under one aspect."""

    aspect: Aspect
    clean: tuple[float, ...]
    """Scores of the clean clips that have one."""
    changes: Sequence[StepChange]
    trends: Sequence[KindTrend]


def measure_robustness(scored: Iterable[tuple[DegradedClip, Score]], aspect: Aspect) -> RobustnessResult:
    """Compare each perturbed clip with its clean original.

    Args:
        scored: Clean clips (severity 0) and perturbed ones, with their scores.
        aspect: Which of the two scores is looked at.
    """
    every: dict[_Step, dict[int, float]] = {}
    for clip, score in scored:
        # A step on which all pieces failed is still a line of the table.
        values = every.setdefault(_Step(clip.step.kind, clip.step.label, clip.step.severity), {})
        if np.isfinite(score.value(aspect)):
            values[clip.piece] = score.value(aspect)
    clean = {piece: value for step, values in every.items() if step.severity == 0 for piece, value in values.items()}
    steps = {step: values for step, values in every.items() if step.severity > 0}
    return RobustnessResult(
        aspect,
        tuple(clean.values()),
        [_change(step, aspect, perturbed, clean) for step, perturbed in steps.items()],
        _corrected([_trend(kind, aspect, steps, clean) for kind in dict.fromkeys(step.kind for step in steps)]),
    )


def _change(step: _Step, aspect: Aspect, perturbed: Mapping[int, float], clean: Mapping[int, float]) -> StepChange:
    changes = np.array([score - clean[piece] for piece, score in perturbed.items() if piece in clean])
    n = changes.size
    return StepChange(
        *step,
        aspect,
        n,
        mean=float(changes.mean()) if n else None,
        spread=float(changes.std(ddof=1)) if n > 1 else None,
        share_lower=float((changes < 0).mean()) if n else None,
    )


def _trend(
    kind: str, aspect: Aspect, steps: Mapping[_Step, Mapping[int, float]], clean: Mapping[int, float]
) -> KindTrend:
    members = {step.severity: perturbed for step, perturbed in steps.items() if step.kind == kind}
    along = [
        {0: score} | {severity: perturbed[piece] for severity, perturbed in members.items() if piece in perturbed}
        for piece, score in clean.items()
    ]
    found = [spearman(np.array(list(one), dtype=np.float64), np.array(list(one.values()))) for one in along]
    values = [one.value for one in found if one.value is not None]
    p = _p_of_fall(clean, list(members.values()))
    if values:
        return KindTrend(kind, aspect, Statistic(float(np.mean(values))), len(values), p)
    reasons = dict.fromkeys(one.reason for one in found)
    return KindTrend(kind, aspect, undefined(" or ".join(reasons) or "no clean clip has a score"), 0, p)


def _p_of_fall(clean: Mapping[int, float], steps: Sequence[Mapping[int, float]]) -> float | None:
    changes_of = {piece: [step[piece] - score for step in steps if piece in step] for piece, score in clean.items()}
    changes = np.round([np.mean(changes) for changes in changes_of.values() if changes], SCORE_DIGITS)
    if not changes.size:
        return None
    if changes.size == 1:  # SciPy takes two or more
        return 0.5 if changes[0] < 0 else 1.0
    test = scipy.stats.permutation_test(
        (changes,),
        np.mean,
        permutation_type="samples",
        alternative="less",
        n_resamples=2**changes.size,
        vectorized=True,
    )
    return float(test.pvalue)


def _corrected(trends: Sequence[KindTrend]) -> list[KindTrend]:
    tested = [trend for trend in trends if trend.p is not None]
    p_holm = dict(zip((trend.kind for trend in tested), holm([trend.p or 0.0 for trend in tested]), strict=True))
    return [trend._replace(p_holm=p_holm.get(trend.kind)) for trend in trends]
