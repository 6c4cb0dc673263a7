"""Ask a model for scores, in bounded time, and read its answer, where NaN is "not judged" or a failure.

The answer is [N, 2], or [M, N, 2] of an ensemble, whose scores are the means over its M members.
"""

import math
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from cmi_bench.errors import RunError
from cmi_bench.models.base import (
    ALIGNMENT_COLUMN,
    MUSICALITY_COLUMN,
    BenchmarkBatchInput,
    BenchmarkModelABC,
    SomeFailedError,
)
from cmi_bench.types import Aspect, Score
from cmi_bench.utils.console import print_error

Model = TypeVar("Model", bound=BenchmarkModelABC, covariant=True)


@dataclass(frozen=True)
class ModelCall(Generic[Model]):
    """A model, and what it is told with each call."""

    model: Model
    max_dur: float
    """Seconds of a clip that are looked at, from its start."""
    score_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Passed on to the model's `score_batch`."""
    timeout: float | None = None
    """Seconds that the model may take for a batch, or a part of one; None: any."""

    def within_time(self, names: Sequence[str]) -> AbstractContextManager[None]:
        """Bound the time that the model takes.

        Args:
            names: Of what it works on.

        Raises:
            ModelTimeoutError: It takes longer.
        """
        if self.timeout is None:
            return nullcontext()
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        error = ModelTimeoutError(
            f"{self.model.class_name} has not answered for {self.timeout:g} s (model_timeout), asked about"
            f" {', '.join(names[:NAMED])}{more}.",
            "Raise model_timeout, or leave these out. The scores made so far are kept; run the same command again to"
            " go on from there.",
        )
        return time_limit(self.timeout, error)

    def seconds_of(self, length: float | None) -> float:
        """Return how much of a file is looked at.

        Args:
            length: Of the file, in seconds; None where it is not known.
        """
        return self.max_dur if length is None else min(length, self.max_dur)

    def score(self, inputs: Mapping[str, BenchmarkBatchInput]) -> dict[str, Score]:
        """Return what `score_batch` says of clips, by their keys.

        Raises:
            ContractError: The answer cannot be read.
            Exception: Whatever the model raises.
        """
        reasons: Mapping[int, str] = {}
        try:
            answer = self.model.score_batch(list(inputs.values()), len(inputs), self.max_dur, **self.score_kwargs)
        except SomeFailedError as error:
            answer, reasons = error.scores, error.reasons
        return read_answer(list(inputs), answer, self.model.class_name, failed=reasons)


NAMED = 8
"""How many clips a message names."""
GRACE = 10.0
"""Seconds that a model which took too long has to let go of the process."""


class ModelTimeoutError(RunError):
    """A model that takes too long for a batch."""


class _TimeIsUp(BaseException):
    """No `Exception`, so that a model which catches those and tries again is stopped too."""


@contextmanager
def time_limit(seconds: float, error: RunError) -> Iterator[None]:
    """End a block that takes too long: by raising in it, and where that does not help, by ending the process.

    An alarm interrupts Python code and system calls in the main thread. What runs elsewhere, in native code that does
    not come back, or catches everything, is ended with the process, after `GRACE`.

    Args:
        seconds: How long the block may take.
        error: What to raise, or to print.
    """

    def interrupt(number: int, frame: object) -> None:
        raise _TimeIsUp

    def end() -> None:
        print_error(str(error))
        os._exit(1)

    last = threading.Timer(seconds + GRACE, end)
    last.daemon = True
    last.start()
    before = signal.signal(signal.SIGALRM, interrupt) if threading.current_thread() is threading.main_thread() else None
    try:
        try:
            if before is not None:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            last.cancel()
            if before is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)
    except _TimeIsUp:
        raise error from None
    finally:
        if before is not None:
            signal.signal(signal.SIGALRM, before)


class ContractError(RunError):
    """A model that answers in a form the benchmark cannot read."""


def read_answer(
    keys: Sequence[str], answer: Any, model: str, *, failed: Mapping[int, str] | None = None
) -> dict[str, Score]:
    """Return a model's answer as scores by key; an infinite score is a failure.

    Args:
        keys: Of what was asked about, in order.
        answer: As `score_batch` or `score_embedded` returns it.
        model: For messages.
        failed: Why there is no score, by place in the batch, where the model says so.

    Raises:
        ContractError: See `checked_members`.
    """
    reasons = failed or {}
    found: dict[str, Score] = {}
    members = checked_members(answer, len(keys), model)
    of_clips = np.moveaxis(members, 0, 1).tolist()
    for place, (key, row, own) in enumerate(zip(keys, mean_over_members(members).tolist(), of_clips, strict=True)):
        score = Score(
            alignment=row[ALIGNMENT_COLUMN],
            musicality=row[MUSICALITY_COLUMN],
            members=tuple((one[ALIGNMENT_COLUMN], one[MUSICALITY_COLUMN]) for one in own) if len(members) > 1 else (),
        )
        if place in reasons:
            score = Score.failed(reasons[place])
        elif any(map(math.isinf, score.columns)):
            values = f"alignment {score.alignment}, musicality {score.musicality}"
            score = Score.failed(f"the model returned an infinite score ({values})")
        found[key] = score
    return found


def checked_scores(answer: Any, count: int, model: str) -> npt.NDArray[np.float64]:
    """Return the scores [count, 2] in a model's answer, of an ensemble the means; see `checked_members`."""
    return mean_over_members(checked_members(answer, count, model))


def mean_over_members(members: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the scores [count, 2] from what each member says [members, count, 2]."""
    with np.errstate(invalid="ignore"):  # infinities of both signs: their mean is NaN
        return np.asarray(members.mean(axis=0))


def checked_members(answer: Any, count: int, model: str) -> npt.NDArray[np.float64]:
    """Return what each member of an ensemble answers as float64 [members, count, 2]; any other model is one member.

    Raises:
        ContractError: Another shape, another count, or not numbers; the message shows both.
    """
    array = np.asarray(answer)
    is_ensemble = array.ndim == 3 and len(array) > 0
    if (array.shape[1:] if is_ensemble else array.shape) != (count, 2):
        raise ContractError(
            f"{model}.score_batch returned shape {list(array.shape)} for {count} clips; expected [{count}, 2].",
            "Return one row per input: column 0 alignment, column 1 musicality (NaN for what is not judged); of an"
            " ensemble such an array for each member, [members, inputs, 2].",
        )
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise ContractError(
            f"{model}.score_batch returned dtype {array.dtype}; expected floating-point numbers.",
            "Convert the scores, e.g. np.asarray(scores, dtype=np.float32).",
        )
    members = array.astype(np.float64)
    return members if is_ensemble else members[np.newaxis]


def judged_by(scores: Iterable[Score]) -> frozenset[Aspect]:
    """Return what the model judges: the columns in which it has given any clip a number."""
    valid = [score for score in scores if not score.error]
    return frozenset(aspect for aspect in Aspect if any(not math.isnan(score.value(aspect)) for score in valid))


def mark_partial_nan(scores: Mapping[str, Score]) -> dict[str, Score]:
    """Turn a NaN in a column that the model does judge elsewhere into a failure of that clip."""
    judged = judged_by(scores.values())
    return {key: nan_is_failure(score, judged) for key, score in scores.items()}


def nan_is_failure(score: Score, judged: frozenset[Aspect]) -> Score:
    """Return a score, or the failure that it is where it lacks something which the model judges."""
    missing = [name for name in sorted(judged) if math.isnan(score.value(name))]
    if score.error or not missing:
        return score
    return Score.failed(f"the model returned NaN for {' and '.join(missing)}, which it judges elsewhere")
