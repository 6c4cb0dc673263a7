"""The findings for people, and for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.conformance.finding import Finding, Outcome, failures

COLOURS = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "dim"}


def as_table(findings: Sequence[Finding], *, title: str) -> RenderableType:
    """Return a table with a line for each check, the model's name above it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("check", "result"):
        table.add_column(column, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for finding in findings:
        outcome = Text(finding.outcome, style=COLOURS[finding.outcome])
        table.add_row(Text(finding.check), outcome, Text(finding.detail))
    return Group(Text(title, style="bold"), table)


def in_words(findings: Sequence[Finding], *, name: str) -> str:
    """Return the verdict in one line."""
    counts = Counter(finding.outcome for finding in findings)
    if failed := failures(findings):
        checks = ", ".join(finding.check for finding in failed)
        return f"{name} does not conform: {len(failed)} of {len(findings)} checks failed ({checks})."
    return f"{name} conforms: {counts[Outcome.PASSED]} checks passed, {counts[Outcome.SKIPPED]} skipped."


def as_json(findings: Sequence[Finding], *, name: str) -> str:
    """Return the text of `conformance.json`: the model, whether it conforms, and the findings."""
    document = {
        "model": name,
        "conforms": not failures(findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
