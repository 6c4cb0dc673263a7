"""The jobs of a sweep and what became of them, as their folders say."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.evaluation.metrics import MetricKey, Shown, all_metrics, metric_columns
from cmi_bench.tracking.job_record import FINISHED, KILLED, NOT_RUN, RUNNING, read_record
from cmi_bench.tracking.metadata import METADATA_FILE, look_up, read_metadata
from cmi_bench.tracking.sweep_plan import PlannedJob, SweepPlan

log = logging.getLogger(__name__)

DIED = "Its process died, perhaps for want of memory."


class Value(NamedTuple):
    """A metric with its interval."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """One job and what came of it."""

    number: int
    label: str
    step: int | None
    """Training step of its checkpoint."""
    status: str
    """"finished", "failed", "killed" or "not run"."""
    message: str = ""
    """Why it failed."""
    folder: Path
    ended: float | None = None
    """Seconds since 1970."""
    weights: str = ""
    """Digest of the weights that were used; empty where that is not known."""
    values: Mapping[MetricKey, Value] = field(default_factory=dict)
    """The defined metrics of the summary; none unless finished."""

    @property
    def reason(self) -> str:
        """The message's first line."""
        return self.message.partition("\n")[0]


def columns_of(jobs: Sequence[SweepJob], *, main: bool = False) -> list[MetricKey]:
    """Return the metrics that any job has, in the summary's order; `main` gives one a task."""
    found = dict.fromkeys(column for job in jobs for column in job.values)
    headlines = {metric.name for metric in all_metrics(Shown.HEADLINE)}
    return [column for column in found if not main or column.metric in headlines]


def best_of(jobs: Sequence[SweepJob], column: MetricKey) -> float | None:
    """Return the highest value of a metric; None where there is nothing to be best of."""
    values = [job.values[column].value for job in jobs if column in job.values]
    return max(values) if len(values) > 1 else None


def values_of(summary: Sequence[Mapping[str, Any]]) -> dict[MetricKey, Value]:
    """Return the defined metrics of the lines under `summary` in a `metrics.json`."""
    found = {}
    for line in summary:
        for metric in all_metrics():
            value, low, high = (line.get(column) for column in metric_columns(metric.name))
            if value is not None:
                found[MetricKey(line["dataset"], line["task"], metric.name)] = Value(value, low, high)
    return found


SHOWN = 5
"""Jobs named in a sentence; the rest are counted."""


def named(labels: Sequence[str]) -> str:
    """Return some jobs in a sentence.

    >>> named(["step_500"]), named(["step_500", "step_1000"]), named(list("abcdefg"))
    ('step_500', 'step_500 and step_1000', 'a, b, c, d, e and 2 more')
    """
    if len(labels) > SHOWN:
        return f"{', '.join(labels[:SHOWN])} and {len(labels) - SHOWN} more"
    return " and ".join(part for part in (", ".join(labels[:-1]), labels[-1]) if part)


def reasons(jobs: Sequence[SweepJob]) -> list[str]:
    """Return why jobs failed, each reason once with the jobs that it is of."""
    labels_of: dict[str, list[str]] = {}
    for job in jobs:
        if job.reason:
            labels_of.setdefault(job.reason, []).append(job.label)
    return [f"{named(labels)}: {reason}" for reason, labels in labels_of.items()]


def has_steps(jobs: Sequence[SweepJob]) -> bool:
    """Whether the jobs are steps of one training: each finished one has a step of its own."""
    steps = [job.step for job in jobs if job.values]
    return len(steps) > 1 and None not in steps and len(set(steps)) == len(steps)


def read_outcomes(plan: SweepPlan, folder: Path) -> list[SweepJob]:
    """Return what became of a sweep's jobs; to be called when none of them runs any more.

    Args:
        plan: The jobs.
        folder: The sweep's folder.
    """
    return [_outcome(job, folder / str(job.number)) for job in plan.jobs]


def _outcome(job: PlannedJob, folder: Path) -> SweepJob:
    record = read_record(folder)
    if record is None or record.overrides != job.overrides:
        return SweepJob(number=job.number, label=job.label, step=job.step, status=NOT_RUN, folder=folder)
    died = record.status == RUNNING
    return SweepJob(
        number=job.number,
        label=job.label,
        step=job.step,
        status=KILLED if died else record.status,
        message=DIED if died else record.message,
        folder=folder,
        ended=record.ended,
        weights=_weights(folder / METADATA_FILE) if record.status == FINISHED else "",
        values=_metric_values(folder / "metrics.json") if record.status == FINISHED else {},
    )


def _weights(path: Path) -> str:
    metadata = read_metadata(path)
    return str(look_up(metadata, "model", "weights") or look_up(metadata, "model", "digest") or "")


def _metric_values(path: Path) -> Mapping[MetricKey, Value]:
    try:
        return values_of(json.loads(path.read_text(encoding="utf-8"))["summary"])
    except FileNotFoundError:  # a task that measures no agreement
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s): its job is listed without metrics.", path, error)
        return {}
