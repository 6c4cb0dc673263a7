"""What became of a sweep's jobs, for tables and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.evaluation.metrics import ACC, K_TAU, LCC, SRCC
from cmi_bench.reporting.columns import CI_HIGH, CI_LOW

MAIN_METRICS = (SRCC, ACC)
"""What stands for a task where one number has to do; a task has one of them."""
ALL_METRICS = (SRCC, LCC, K_TAU, ACC)


class Column(NamedTuple):
    """One metric of one task."""

    dataset: str
    task: str
    metric: str

    @property
    def name(self) -> str:
        """As in MLflow, e.g. "PAM/musicality/SRCC"."""
        return f"{self.dataset}/{self.task}/{self.metric}"


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
    values: Mapping[Column, Value] = field(default_factory=dict)
    """The defined metrics of the summary; none unless finished."""

    @property
    def reason(self) -> str:
        """The message's first line."""
        return self.message.partition("\n")[0]


def columns_of(jobs: Sequence[SweepJob], *, main: bool = False) -> list[Column]:
    """Return the metrics that any job has, in the summary's order; `main` gives one a task."""
    found = dict.fromkeys(column for job in jobs for column in job.values)
    return [column for column in found if not main or column.metric in MAIN_METRICS]


def best_of(jobs: Sequence[SweepJob], column: Column) -> float | None:
    """Return the highest value of a metric; None where there is nothing to be best of."""
    values = [job.values[column].value for job in jobs if column in job.values]
    return max(values) if len(values) > 1 else None


def values_of(summary: Sequence[Mapping[str, Any]]) -> dict[Column, Value]:
    """Return the defined metrics of the lines under `summary` in a `metrics.json`."""
    return {
        Column(line["dataset"], line["task"], metric): Value(
            line[metric], line.get(metric + CI_LOW), line.get(metric + CI_HIGH)
        )
        for line in summary
        for metric in ALL_METRICS
        if line.get(metric) is not None
    }
