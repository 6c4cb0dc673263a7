"""What a check found."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It does not apply, or could not be asked; the detail says why."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    outcome: Outcome
    detail: str
    """What was seen: numbers where there are some."""


class FailedCheckError(Exception):
    """The model does not do what the check asks; the message says what differs, and by how much."""


class SkippedCheckError(Exception):
    """The check does not apply to the model; the message says why."""


def failures(findings: Iterable[Finding]) -> list[Finding]:
    """Return what failed."""
    return [finding for finding in findings if finding.outcome is Outcome.FAILED]
