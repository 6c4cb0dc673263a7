"""Findings of the doctor: what was found, how bad it is, the command that fixes it; as table, sentence and JSON."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from rich.table import Table

from cmi_bench.utils.installation import command_line


class Severity(StrEnum):
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
    status: Severity
    found: str
    """What there is, or what is wrong and where."""
    fix: str = ""
    """The command or the deed that fixes it; empty where nothing is wrong."""


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst status there is."""
    order = list(Severity)
    return max((finding.status for finding in findings), key=order.index, default=Severity.OK)


COLOURS = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.PROBLEM: "bold red"}


def as_table(findings: Sequence[Finding]) -> Table:
    """Return a table with a line for each finding."""
    table = Table()
    for column in ("", "what", "status"):
        table.add_column(column, no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for before, finding in zip([None, *findings], findings, strict=False):
        if before is not None and before.area != finding.area:
            table.add_section()
        status = f"[{COLOURS[finding.status]}]{finding.status}[/]"
        area = finding.area if before is None or before.area != finding.area else ""
        table.add_row(area, finding.subject, status, _plain(finding.found), _plain(finding.fix))
    return table


def verdict_of(findings: Sequence[Finding]) -> str:
    """Return the sum of it in one line."""
    counts = Counter(finding.status for finding in findings)
    problems, warnings = _count(counts[Severity.PROBLEM], "problem"), _count(counts[Severity.WARNING], "warning")
    return (
        f"A run would not do: {problems}, {warnings}." if counts[Severity.PROBLEM] else f"A run would work. {warnings}."
    )


def as_json(findings: Sequence[Finding]) -> str:
    """Return one JSON object: the worst status, and the findings."""
    document = {"status": worst(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(document, ensure_ascii=False, indent=2)


def _plain(text: str) -> str:
    """Keep brackets in file names from being read as markup."""
    return text.replace("[", r"\[")


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'s' * (number != 1)}"


OWN_WORDS = ("task=", "doctor.", "hydra.", "+device=", "device=", "tracking")


@dataclass(frozen=True)
class Remedies:
    """How this user gets things."""

    words: Sequence[str]
    """The overrides on the command line."""
    root: Path
    is_synthesised: bool
    """The data make themselves."""
    is_own: bool = False
    """All rows are from tables of the user's own."""

    @property
    def prepare(self) -> str:
        """The command that fetches whatever the same words need."""
        kept = [shlex.quote(word) for word in self.words if not word.startswith(OWN_WORDS)]
        return command_line("task=prepare", *kept)

    @property
    def audio(self) -> str:
        """How missing or damaged audio is had again."""
        if self.is_own:
            return "Put your songs where the table says, or set data.root"
        return (
            f"rm -r {shlex.quote(str(self.root))}; the next run makes it anew" if self.is_synthesised else self.prepare
        )

    def rows(self, file: Path) -> str:
        """How a rows' file is had again."""
        return self.audio if self.is_synthesised else f"rm {shlex.quote(str(file))}; {self.prepare}"
