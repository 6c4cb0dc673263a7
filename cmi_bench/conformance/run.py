"""Check a model: all checks, whatever some of them find."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import soundfile
import torch

from cmi_bench.conformance.checks import batches, declarations, embeddings, inputs, single_clips
from cmi_bench.conformance.differences import TOLERANCES
from cmi_bench.conformance.finding import FailedCheckError, Finding, Outcome, SkippedCheckError, failures
from cmi_bench.conformance.probes import MAX_DUR, Probes, make_probes
from cmi_bench.conformance.subject import Subject
from cmi_bench.errors import RunError, UserError
from cmi_bench.inference.answers import ContractError
from cmi_bench.models.contract import RewardModel
from cmi_bench.models.remote import ClipAhead, RemoteModel, WorkAhead

Check = Callable[[Subject], str]
"""Returns what it saw; raises what is wrong."""

SAMPLING_RATE, ONE_CLIP = "sampling rate", "one clip"
CHECKS: dict[str, Check] = {
    "declarations": declarations.declarations,
    "lyrics": single_clips.lyrics,
    "no instruction": single_clips.no_instruction,
    "reference": single_clips.reference,
    "silence": single_clips.silence,
    "short clip": single_clips.short_clip,
    "long clip": single_clips.long_clip,
    "NaN": single_clips.columns,
    "same twice": batches.again,
    "batch": batches.batch,
    "batch_size": batches.batch_size,
    "order": batches.order,
    "mixed references": batches.mixed_references,
    "inputs unchanged": inputs.unchanged,
    "unused inputs": inputs.unused,
    "path or waveform": inputs.other_form,
    "identity": declarations.identity,
    "embeddings": embeddings.embeddings,
}
"""By name, in the order in which they are made; those on single clips first, whose scores the others compare with."""


def check_model(
    model: RewardModel, folder: Path, *, precision: str = "32", score_kwargs: Mapping[str, Any] | None = None
) -> list[Finding]:
    """Make all checks on a model.

    Args:
        model: The model, on its device.
        folder: Takes the clips' audio, under a megabyte.
        precision: "32" or "bf16"; settles how far scores may be apart, see `differences.TOLERANCES`.
        score_kwargs: Passed on to `score_batch`.

    Raises:
        RunError: A service ends the work, such as for its cost.
    """
    findings = [check_sampling_rate(model)]
    if failures(findings):
        return findings + _not_asked([ONE_CLIP, *CHECKS])
    probes = make_probes(folder / "audio", int(model.sr))
    subject = Subject(model, probes, tolerance=TOLERANCES[precision], score_kwargs=score_kwargs or {})
    if isinstance(model, RemoteModel):
        model.prepare(_ahead(probes, folder))
    try:
        # As in Lightning's predict loop: a model need not switch gradients off.
        with torch.inference_mode():
            findings.append(_made(ONE_CLIP, partial(single_clips.one_clip, subject)))
            if failures(findings):
                return findings + _not_asked(CHECKS)
            return findings + [_made(name, partial(check, subject)) for name, check in CHECKS.items()]
    finally:
        if isinstance(model, RemoteModel):
            model.finish()


def check_sampling_rate(model: RewardModel) -> Finding:
    """Make the check without which nothing can be asked; `check_model` begins with it."""
    return _made(SAMPLING_RATE, partial(declarations.sampling_rate, model))


def assert_conforms(model: RewardModel, folder: Path, *, precision: str = "32") -> None:
    """Check a model in a test; see `check_model`.

    Raises:
        AssertionError: Checks failed; names all of them.
    """
    failed = failures(check_model(model, folder, precision=precision))
    assert not failed, "\n".join(f"{finding.check}: {finding.detail}" for finding in failed)


def _made(name: str, check: Callable[[], str]) -> Finding:
    """Make a check: whatever the model raises is a finding, but for what ends a run."""
    try:
        return Finding(name, Outcome.PASSED, check())
    except SkippedCheckError as error:
        return Finding(name, Outcome.SKIPPED, str(error))
    except FailedCheckError as error:
        return Finding(name, Outcome.FAILED, str(error))
    except ContractError as error:
        return Finding(name, Outcome.FAILED, error.what)
    except RunError:
        raise
    except Exception as error:
        return Finding(name, Outcome.FAILED, said(error))


def said(error: Exception) -> str:
    """Return what a model raised, on one line."""
    if isinstance(error, UserError):
        return f"Raises {type(error).__name__}: {error.what}"
    message = " ".join(str(error).split())
    return f"Raises {type(error).__name__}{': ' if message else ''}{message}"


def _not_asked(names: Iterable[str]) -> list[Finding]:
    return [Finding(name, Outcome.SKIPPED, "Not asked, for what is above.") for name in names]


def _ahead(probes: Probes, folder: Path) -> WorkAhead:
    clips = [
        ClipAhead(
            audio=probe.audio,
            text=probe.text,
            lyrics=probe.lyrics,
            ref_audio=probe.ref_audio,
            seconds=_seconds(probe.audio),
            ref_seconds=_seconds(probe.ref_audio) if probe.ref_audio else None,
        )
        for probe in probes.for_services
    ]
    return WorkAhead(clips, MAX_DUR, folder, processes=1, resume=True)


def _seconds(path: Path) -> float:
    return float(soundfile.info(path).duration)
