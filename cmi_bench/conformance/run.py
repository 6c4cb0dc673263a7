"""All checks of a model, whatever some of them find, and the report: as table, sentence and JSON."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import soundfile
import torch
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.conformance import checks
from cmi_bench.conformance.subject import (
    MAX_DUR,
    TOLERANCES,
    CheckOutcome,
    CheckResult,
    FailedCheckError,
    Probes,
    SkippedCheckError,
    Subject,
    failures,
    make_probes,
)
from cmi_bench.errors import RunError, UserError
from cmi_bench.models.adapter import adapt
from cmi_bench.models.base import BenchmarkModelABC, ClipAhead, RewardModel, WorkAhead
from cmi_bench.scoring.model_call import ContractError

Check = Callable[[Subject], str]
"""Returns what it saw; raises what is wrong."""
Progress = Callable[[Iterable[str], int], Iterable[str]]
"""Passes names on, of which there are so many."""

SAMPLING_RATE, ONE_CLIP = "sampling rate", "one clip"
CHECKS: dict[str, Check] = {
    "declarations": checks.declarations,
    "lyrics": checks.lyrics,
    "no instruction": checks.no_instruction,
    "reference": checks.reference,
    "silence": checks.silence,
    "short clip": checks.short_clip,
    "long clip": checks.long_clip,
    "NaN": checks.columns,
    "ensemble": checks.ensemble,
    "same twice": checks.again,
    "batch": checks.batch,
    "batch_size": checks.batch_size,
    "order": checks.order,
    "mixed references": checks.mixed_references,
    "collapse": checks.collapse,
    "inputs unchanged": checks.unchanged,
    "unused inputs": checks.unused,
    "path or waveform": checks.other_form,
    "identity": checks.identity,
    "embeddings": checks.embeddings,
}
"""By name, in the order in which they are made; those on single clips first, whose scores the others compare with."""


def check_model(
    model: RewardModel,
    folder: Path,
    *,
    precision: str = "32",
    score_kwargs: Mapping[str, Any] | None = None,
    progress: Progress = lambda names, _total: names,
) -> list[CheckResult]:
    """Make all checks on a model.

    Args:
        model: The model, on its device.
        folder: Takes the clips' audio, under a megabyte.
        precision: "32", "tf32" or "bf16"; settles how far scores may be apart, see `differences.TOLERANCES`.
        score_kwargs: Passed on to `score_batch`.
        progress: Wraps the names of the checks as they are made.

    Raises:
        RunError: A service ends the work, such as for its cost.
    """
    checked = adapt(model)
    findings = [check_sampling_rate(checked)]
    if failures(findings):
        return findings + _not_asked([ONE_CLIP, *CHECKS])
    probes = make_probes(folder / "audio", int(checked.sr))
    subject = Subject(checked, probes, tolerance=TOLERANCES[precision], score_kwargs=score_kwargs or {})
    if checked.is_remote:
        checked.prepare(_ahead(probes, folder))
    try:
        # As in Lightning's predict loop: a model need not switch gradients off.
        with torch.inference_mode():
            findings.append(_made(ONE_CLIP, partial(checks.one_clip, subject)))
            if failures(findings):
                return findings + _not_asked(CHECKS)
            return findings + [_made(name, partial(CHECKS[name], subject)) for name in progress(CHECKS, len(CHECKS))]
    finally:
        if checked.is_remote:
            checked.finish()


def check_sampling_rate(model: BenchmarkModelABC) -> CheckResult:
    """Make the check without which nothing can be asked; `check_model` begins with it."""
    return _made(SAMPLING_RATE, partial(checks.sampling_rate, model))


def assert_conforms(model: RewardModel, folder: Path, *, precision: str = "32") -> None:
    """Check a model in a test; see `check_model`.

    Raises:
        AssertionError: Checks failed; names all of them.
    """
    failed = failures(check_model(model, folder, precision=precision))
    assert not failed, "\n".join(f"{finding.check}: {finding.detail}" for finding in failed)


def _made(name: str, check: Callable[[], str]) -> CheckResult:
    """Make a check: whatever the model raises is a finding, but for what ends a run."""
    try:
        return CheckResult(name, CheckOutcome.PASSED, check())
    except SkippedCheckError as error:
        return CheckResult(name, CheckOutcome.SKIPPED, str(error))
    except FailedCheckError as error:
        return CheckResult(name, CheckOutcome.FAILED, str(error))
    except ContractError as error:
        return CheckResult(name, CheckOutcome.FAILED, error.what)
    except RunError:
        raise
    except Exception as error:
        return CheckResult(name, CheckOutcome.FAILED, describe_error(error))


def describe_error(error: Exception) -> str:
    """Return what a model raised, on one line."""
    if isinstance(error, UserError):
        return f"Raises {type(error).__name__}: {error.what}"
    message = " ".join(str(error).split())
    return f"Raises {type(error).__name__}{': ' if message else ''}{message}"


def _not_asked(names: Iterable[str]) -> list[CheckResult]:
    return [CheckResult(name, CheckOutcome.SKIPPED, "Not asked, for what is above.") for name in names]


def _ahead(probes: Probes, folder: Path) -> WorkAhead:
    clips = [
        ClipAhead(
            probe,
            seconds=_seconds(probe.audio),
            ref_seconds=_seconds(probe.ref_audio) if probe.ref_audio else None,
        )
        for probe in probes.for_services
    ]
    return WorkAhead(clips, MAX_DUR, folder, processes=1, resume=True)


def _seconds(path: Path) -> float:
    return float(soundfile.info(path).duration)


COLOURS = {CheckOutcome.PASSED: "green", CheckOutcome.FAILED: "bold red", CheckOutcome.SKIPPED: "dim"}


def as_table(findings: Sequence[CheckResult], *, title: str) -> RenderableType:
    """Return a table with a line for each check, the model's name above it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("check", "result"):
        table.add_column(column, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for finding in findings:
        outcome = Text(finding.outcome, style=COLOURS[finding.outcome])
        table.add_row(Text(finding.check), outcome, Text(finding.detail))
    return Group(Text(title, style="bold"), table)


def verdict_of(findings: Sequence[CheckResult], *, name: str) -> str:
    """Return the verdict in one line."""
    counts = Counter(finding.outcome for finding in findings)
    if failed := failures(findings):
        checks = ", ".join(finding.check for finding in failed)
        return f"{name} does not conform: {len(failed)} of {len(findings)} checks failed ({checks})."
    return f"{name} conforms: {counts[CheckOutcome.PASSED]} checks passed, {counts[CheckOutcome.SKIPPED]} skipped."


def as_json(findings: Sequence[CheckResult], *, name: str) -> str:
    """Return the text of `conformance.json`: the model, whether it conforms, and the findings."""
    document = {
        "model": name,
        "conforms": not failures(findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
