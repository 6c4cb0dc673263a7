"""Whether a model's scores depend on the clips beside them, or on chance.

They must not: a padded batch that is averaged without its mask, or batch statistics in a network that was left in
training mode, make the same clip worth more or less with another `batch_size` or other rows. So a few clips of the run
are scored once more: the first of them alone, and all together in one batch. With few clips and a slow model that would
take as long as the run: there they are fewer, or none.
"""

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cmi_bench.errors import UserError
from cmi_bench.scoring.packs import PackStore
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.score_columns import ScoreColumns
from cmi_bench.types import Aspect, Score

log = logging.getLogger(__name__)

BATCH_CHECK = "batch check of "
"""What is known of a model's scores, in the notes of their store: this and the model."""
PROBES = 4
"""Clips that are scored again."""
TOLERANCE = 0.01
"""Standard deviations of the run's scores. Rounding stays below in every precision (1e-3 is promised of bfloat16), and
a change of this size moves no metric in a digit that is shown."""
FREE_SECONDS = 5.0
"""What the check may take in any case."""
SHARE = 0.1
"""Of the run's time: what it may take in a longer run."""
LEAST = 1e-6
"""The change, relative to the score, that counts where all scores of the run are equal."""

Units = Mapping[Aspect, float]
"""Of each aspect that the model judges, the standard deviation of the run's scores."""

Rescore = Callable[[Sequence[Request]], Mapping[str, Score]]
"""Scores requests in one batch, anew; returns scores and failures by key."""


@dataclass(frozen=True)
class BatchCheck:
    """What came of scoring a few clips again in other company."""

    clips: int
    largest_change: float
    """In standard deviations of the run's scores, over both aspects."""
    tolerance: float
    depends_on_batch: bool
    """Whether a score changed by more than the tolerance, but not from one equal call to the next."""
    changes_by_itself: bool
    """Whether equal calls give different scores."""

    @property
    def note(self) -> str:
        """What a reader of the results has to know; empty where the scores hold."""
        if not self.depends_on_batch and not self.changes_by_itself:
            return ""
        change = f"of {self.clips} clips scored again, one changed by {self.largest_change:.2g} standard deviations"
        if self.changes_by_itself:
            return (
                f"The model's scores change from call to call ({change}): the same command gives other figures. Put it"
                " into evaluation mode, fix its seed, or declare it with is_deterministic = False."
            )
        return (
            f"The model's scores depend on the clips beside them ({change} in other company): another batch_size, or"
            " other rows, give other figures. Mask what pads a batch, or score each clip by itself."
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `metadata.json` says of it."""
        return asdict(self) | {"note": self.note}


def keep_worst(notes: PackStore, found: BatchCheck | None, *, model: str) -> BatchCheck | None:
    """Keep a check beside the scores that it is about, and return the worst one of them so far.

    A run whose scores were all stored has nothing to check, and its figures are those of the runs that made them.

    Args:
        notes: Where checks of these scores are kept.
        found: This run's; None where there was none.
        model: What made the scores: a run's own folder may hold those of several models.
    """
    try:
        before = BatchCheck(**json.loads(notes.get(BATCH_CHECK + model) or ""))
    except (ValueError, TypeError):  # none, or one of an earlier version
        before = None
    worst = max((one for one in (before, found) if one), key=lambda one: one.largest_change, default=None)
    if worst is not None and worst != before:
        with contextlib.suppress(OSError):  # a cache that can only be read
            notes.put_many({BATCH_CHECK + model: json.dumps(asdict(worst)).encode()})
            notes.release()
    return worst


def choose_probes(requests: Sequence[Request], *, items: int, seconds: float) -> list[Request]:
    """Choose clips to score again: the same whatever the order, of all lengths, no larger a batch than the run's.

    Args:
        requests: What was scored in this run.
        items: How many fit into a batch.
        seconds: Of audio that fit into a batch.
    """
    chosen: list[Request] = []
    for request in sorted(requests, key=lambda one: one.key):  # keys are digests: no order in them
        if len(chosen) < min(PROBES, items) and sum(one.seconds for one in chosen) + request.seconds <= seconds:
            chosen.append(request)
    return chosen


def clips_affordable(per_clip: float, run: float) -> int:
    """Return how many clips may be scored again.

    Args:
        per_clip: Seconds that one takes.
        run: Seconds that the run's clips took.

    >>> clips_affordable(0.1, 20.0)
    5
    >>> clips_affordable(8.0, 300.0)
    3
    >>> clips_affordable(8.0, 16.0)
    0
    """
    most, seconds = PROBES + 1, max(FREE_SECONDS, SHARE * run)
    return most if per_clip * most <= seconds else int(seconds / per_clip)


def units_of(scores: ScoreColumns) -> Units:
    """Return in what changes of the scores of a run are measured; nothing where there is one score or none."""
    columns = {aspect: scores.column(aspect) for aspect in Aspect} if len(scores) > 1 else {}
    finite = {aspect: values[np.isfinite(values)] for aspect, values in columns.items()}
    return {aspect: _unit(values) for aspect, values in finite.items() if len(values)}


def _unit(values: npt.NDArray[np.float64]) -> float:
    spread, largest = float(values.std()), float(np.abs(values).max())
    return spread if spread > LEAST * largest else LEAST * max(largest, 1)


def check_batches(
    probes: Sequence[Request],
    known: Mapping[str, Score],
    rescore: Rescore,
    *,
    units: Units,
    run_batches_of_one: bool,
    clips: int = PROBES + 1,
) -> BatchCheck | None:
    """Score the probes again, the first alone and together, and compare.

    Args:
        probes: What to score again.
        known: Their scores, by key.
        rescore: Scores in one batch.
        units: See `units_of`.
        run_batches_of_one: Whether the run scored each clip by itself, so that alone is no other company.
        clips: How many may be scored, the one alone included.

    Returns:
        None where there is nothing to compare with, or the check could not be made (which is logged).
    """
    alone = [] if run_batches_of_one else list(probes[: min(clips, 1)])
    together = list(probes[: clips - len(alone)])
    companies = [company for company in (together if len(together) > 1 else [], alone) if company]
    if not companies or not units:
        return None
    try:
        changes = [_largest_change(rescore(company), known, units) for company in companies]
        worst = int(np.argmax(changes))
        changes_by_itself = False
        if changes[worst] > TOLERANCE:
            once, again = (rescore(companies[worst]) for _ in range(2))
            changes_by_itself = _largest_change(once, {**known, **again}, units) > TOLERANCE
    except (UserError, OSError) as error:  # it costs no score: all of them are stored
        log.warning("Whether scores depend on the batch could not be checked: %s", getattr(error, "what", error))
        return None
    found = BatchCheck(
        clips=max(map(len, companies)),
        largest_change=float(f"{changes[worst]:.3g}"),
        tolerance=TOLERANCE,
        depends_on_batch=changes[worst] > TOLERANCE and not changes_by_itself,
        changes_by_itself=changes_by_itself,
    )
    if found.note:
        log.warning("%s", found.note)
    return found


def _largest_change(scores: Mapping[str, Score], known: Mapping[str, Score], units: Units) -> float:
    """Return by how many standard deviations of the run's scores any score differs from the one known.

    Raises:
        UserError: A clip could not be scored again.
    """
    for score in scores.values():
        if score.error:
            raise UserError(f"a clip that was scored fails in other company: {score.error}")
    changes = [0.0]
    for aspect, unit in units.items():
        differences = (one for key, score in scores.items() for one in _differences(score, known[key], aspect))
        changes += [difference / unit for difference in differences if not math.isnan(difference)]
    return max(changes)


def _differences(score: Score, known: Score, aspect: Aspect) -> Iterator[float]:
    """Yield by how much a score differs, and by how much its spread over the members of an ensemble."""
    yield abs(score.value(aspect) - known.value(aspect))
    yield abs(score.spread(aspect) - known.spread(aspect))
