"""Exact tests and intervals for counts: Clopper-Pearson, and the sign test that McNemar's exact test is."""

from typing import NamedTuple

# `scipy` loads its `special` when that is first used, so importing this module stays quick.
import scipy


class Bounds(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def clopper_pearson(successes: int, n: int, *, confidence: float) -> Bounds:
    """Return the exact interval of a proportion (Clopper and Pearson 1934), for independent trials.

    Args:
        successes: Of `n` trials.
        n: At least 1.
        confidence: E.g. 0.95.
    """
    tail = (1 - confidence) / 2
    low = scipy.special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = scipy.special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return Bounds(float(low), float(high))


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided p-value that a row is as likely better as worse, given that it differs.

    With rows right under one model and wrong under the other this is McNemar's exact test.

    Args:
        better: Rows on which the first has more credit.
        worse: Rows on which it has less.
    """
    # The binomial distribution function up to the rarer outcome; doubled, as both tails are alike at one half.
    tail = scipy.special.bdtr(min(better, worse), better + worse, 0.5)
    return min(1.0, 2.0 * float(tail))
