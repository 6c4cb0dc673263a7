"""What a check found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """A run works; its figures may not be those that one expects."""
    PROBLEM = "problem"
    """A run would fail, or score something else than the benchmark."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    area: str
    """Such as "audio"."""
    subject: str
    """What was looked at."""
    status: Status
    found: str
    """What there is, or what is wrong and where."""
    mend: str = ""
    """The command or the deed that mends it; empty where nothing is wrong."""


SHOWN = 3


def some_of(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are.

    >>> some_of(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def worst(findings: Iterable[Finding]) -> Status:
    """Return the worst status there is."""
    order = list(Status)
    return max((finding.status for finding in findings), key=order.index, default=Status.OK)
