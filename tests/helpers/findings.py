"""What the tests of the doctor share: a configuration, remedies, and findings by what was looked at."""

from collections.abc import Iterable
from pathlib import Path

from command_line import configured

from cmi_bench.config import Config
from cmi_bench.doctor.finding import Finding, Remedies

REMEDIES = Remedies(["task=doctor", "model=cmi_rm", "+device=cpu"], Path("/data"), False)


def config(*words: str) -> Config:
    """Return the checked configuration of these words, without tracking unless they say which."""
    return configured("tracking=none", *words)


def by_subject(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Return findings by what was looked at."""
    return {one.subject: one for one in findings}
