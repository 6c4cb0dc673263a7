"""What a model does with its inputs."""

from typing import Any

import torch

from cmi_bench.conformance.finding import FailedCheckError, SkippedCheckError
from cmi_bench.conformance.subject import Subject
from cmi_bench.models.contract import AudioInput
from cmi_bench.models.remote import RemoteModel


def unchanged(subject: Subject) -> str:
    """The inputs are as they were: the list, the texts, and each sample of a waveform."""
    probes = subject.answered((*subject.probes.plain[:2], *subject.probes.referring[:1]))
    given, kept = subject.inputs(probes), subject.inputs(probes)
    same = list(given)
    subject.answer(given)
    if len(given) != len(same) or any(one is not other for one, other in zip(given, same, strict=True)):
        raise FailedCheckError("The list of inputs is another one afterwards.")
    for probe, now, before in zip(probes, same, kept, strict=True):
        for name, value in before.to_dict().items():
            if not _is_same(now.to_dict()[name], value):
                raise FailedCheckError(f"{name} of {probe.name} was changed in place; work on a copy.")
    return f"{len(probes)} clips as they were."


def unused(subject: Subject) -> str:
    """What is declared as unused changes nothing."""
    if not subject.unused:
        raise SkippedCheckError("It declares no unused_inputs.")
    probe = subject.probes.referring[-1]
    given = subject.answer(subject.inputs([probe], unused=frozenset()))
    return subject.compare(given, subject.alone([probe]), [probe])


def other_form(subject: Subject) -> str:
    """Audio as path and as waveform: the benchmark uses one of them, so that the other is worth a word only."""
    if isinstance(subject.model, RemoteModel):
        raise SkippedCheckError("Not asked of a service, which is paid for each answer.")
    other: AudioInput = "waveform" if subject.form == "path" else "path"
    probe = subject.probes.plain[0]
    try:
        scores = subject.answer(subject.inputs([probe], form=other))
        return f"Given a {other} instead. {subject.compare(scores, subject.alone([probe]), [probe])}"
    except FailedCheckError as error:
        raise SkippedCheckError(f"Given a {other}, it answers otherwise ({error}); the benchmark never does.") from None
    except Exception as error:  # whatever it raises, it is not asked so by the benchmark
        raise SkippedCheckError(f"It takes no {other} ({type(error).__name__}); the benchmark gives it none.") from None


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)
