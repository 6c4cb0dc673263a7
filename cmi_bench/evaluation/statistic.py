"""A number computed from samples, or the reason why there is none."""

from typing import NamedTuple


class Statistic(NamedTuple):
    """The value of a metric over some rows."""

    value: float | None
    """None where the metric is undefined."""
    reason: str = ""
    """Why it is undefined; empty where there is a value."""


def undefined(reason: str) -> Statistic:
    """Return a statistic without a value."""
    return Statistic(None, reason)
