"""All runs by one metric over the same rows: how they stand, and how each two of them differ."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.agreement import credit
from cmi_bench.evaluation.comparison.records import Difference, Standing
from cmi_bench.evaluation.comparison.significance import bootstrap_p
from cmi_bench.evaluation.exact import sign_test
from cmi_bench.evaluation.intervals import DIGITS, exact_bounds, percentile_interval
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import Samples
from cmi_bench.evaluation.statistic import Statistic

MCNEMAR, SIGN_TEST, BOOTSTRAP = "exact McNemar", "sign test", "paired bootstrap"


@dataclass(frozen=True)
class Field:
    """What is known of all runs by one metric."""

    samples: Mapping[str, Samples]
    """By run, the rows that are compared."""
    statistics: Mapping[str, Statistic]
    """By run, the metric."""
    resampled: Mapping[str, Floats]
    """By run, the metric over the same resamples; runs without a value are not in it, and none is where
    nothing could be drawn."""
    cluster: NDArray[np.intp]
    confidence: float

    def standings(self) -> tuple[Standing, ...]:
        """Return the runs, the best first and those without a value last."""
        standings = [self._standing(run) for run in self.samples]
        return tuple(sorted(standings, key=lambda one: -np.inf if one.value is None else one.value, reverse=True))

    def differences(self) -> tuple[Difference, ...]:
        """Return each pair of runs with a value once; p-values are not corrected."""
        measured = {run: value for run, (value, _) in self.statistics.items() if value is not None}
        return tuple(
            self._difference(first, second, measured[first] - measured[second])
            for first, second in itertools.combinations(measured, 2)
        )

    def _standing(self, run: str) -> Standing:
        value, reason = self.statistics[run]
        if value is None:
            return Standing(run=run, value=None, interval=None, note=reason)
        exact = exact_bounds(self.samples[run], self.confidence)
        interval = percentile_interval(self.resampled.get(run), self.cluster, self.confidence, exact=exact)
        return Standing(run=run, value=value, interval=interval)

    def _difference(self, first: str, second: str, value: float) -> Difference:
        # Rounded, lest two scales of the same scores seem to differ consistently in the last digit.
        resampled = np.round(self.resampled[first] - self.resampled[second], DIGITS) if self.resampled else None
        interval = percentile_interval(resampled, self.cluster, self.confidence)
        p_bootstrap = None if resampled is None or interval.low is None else bootstrap_p(resampled)
        counts = credit_counts(self.samples[first], self.samples[second])
        return Difference(
            first=first,
            second=second,
            value=round(value, DIGITS),
            interval=interval,
            test=BOOTSTRAP if counts is None else counts.test,
            p=p_bootstrap if counts is None else sign_test(counts.better, counts.worse),
            p_bootstrap=p_bootstrap,
            better=None if counts is None else counts.better,
            worse=None if counts is None else counts.worse,
        )


class CreditCounts(NamedTuple):
    """On how many pairs one run does better than another."""

    better: int
    worse: int
    test: str
    """What a test on these counts is called."""


def credit_counts(first: Samples, second: Samples) -> CreditCounts | None:
    """Count the pairs on which one run gets more credit than the other; None for single clips.

    Half a credit more is more: without half credits the test on these counts is McNemar's.
    """
    if not isinstance(first.task, PairTask):
        return None
    ours, theirs = credit(first.label, first.prediction), credit(second.label, second.prediction)
    halved = bool((ours == 0.5).any() or (theirs == 0.5).any())
    return CreditCounts(int((ours > theirs).sum()), int((ours < theirs).sum()), SIGN_TEST if halved else MCNEMAR)
