"""What a model says of itself."""

import inspect
from typing import get_args

import numpy as np

from cmi_bench.conformance.finding import FailedCheckError, SkippedCheckError
from cmi_bench.conformance.subject import Subject
from cmi_bench.models.contract import AudioInput, RewardModel, UnusedInput

PARAMETERS = ("inputs", "batch_size", "max_dur")
"""Of `score_batch`, as the public scripts name them when they call it."""


def sampling_rate(model: RewardModel) -> str:
    """`sr` is a whole number of Hz."""
    sr = model.sr
    if isinstance(sr, bool) or not isinstance(sr, int | np.integer) or sr <= 0:
        raise FailedCheckError(f"sr is {sr!r}; it has to be a whole number of Hz above 0.")
    return f"{sr} Hz."


def declarations(subject: Subject) -> str:
    """`audio_input` and `unused_inputs` are understood, and `score_batch` takes what it is called with."""
    if subject.form not in get_args(AudioInput):
        raise FailedCheckError(f"audio_input is {subject.form!r}; it has to be one of {get_args(AudioInput)}.")
    if strange := subject.unused - set(get_args(UnusedInput)):
        raise FailedCheckError(f"unused_inputs holds {min(strange)!r}; known are {get_args(UnusedInput)}.")
    takes = inspect.signature(subject.model.score_batch).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
    if lacking := [name for name in PARAMETERS if name not in takes and not takes_all]:
        raise FailedCheckError(
            f"score_batch has no parameter {lacking[0]!r}; the public scripts call it by the names"
            f" {', '.join(PARAMETERS)}."
        )
    unused = f"; unused: {', '.join(sorted(subject.unused))}" if subject.unused else ""
    return f"audio_input {subject.form}{unused}."


def identity(subject: Subject) -> str:
    """`identity`, by which scores are kept from run to run, is a string that stays the same."""
    names = [name for name in ("identity", "audio_identity", "text_identity") if hasattr(subject.model, name)]
    if not names:
        raise SkippedCheckError("It has none: its scores are not kept from run to run.")
    for name in names:
        first, second = (getattr(subject.model, name) for _ in range(2))
        if not isinstance(first, str) or not first:
            raise FailedCheckError(f"{name} is {first!r}; it has to be a string.")
        if first != second:
            raise FailedCheckError(f"{name} changes: {first!r}, then {second!r}.")
    return f"{', '.join(names)}: the same when asked again."
