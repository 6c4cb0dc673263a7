"""The findings for people, and for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from cmi_bench.doctor.finding import Finding, Status, worst

COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.PROBLEM: "bold red"}


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
        table.add_row(area, finding.subject, status, _plain(finding.found), _plain(finding.mend))
    return table


def in_words(findings: Sequence[Finding]) -> str:
    """Return the sum of it in one line."""
    counts = Counter(finding.status for finding in findings)
    if not counts[Status.PROBLEM]:
        return f"A run would work. {_count(counts[Status.WARNING], 'warning')}."
    return (
        f"A run would not do: {_count(counts[Status.PROBLEM], 'problem')}, {_count(counts[Status.WARNING], 'warning')}."
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
