"""The lines of the result tables, and the evaluation they make up."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.samples import Samples
from cmi_bench.evaluation.settings import MetricSettings


class Status(StrEnum):
    """What the metrics of a line are worth."""

    OK = "ok"
    UNDEFINED = "undefined"
    """A metric cannot be computed from these rows; the note says why."""
    NOT_APPLICABLE = "not applicable"
    """The model does not judge this."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What some rows of one task come to."""

    dataset: str
    task: str
    n: int
    """Rows the metrics are computed from; pairs whose prediction failed are among them under `honest`."""
    metrics: Mapping[str, float | None]
    """By name (SRCC, LCC, K-Tau, ACC): those that the task has; None where undefined or not applicable."""
    intervals: Mapping[str, Interval]
    """By name, for those metrics that have a value; empty where intervals are switched off."""
    n_failed: int
    """Rows with a label and without a usable prediction."""
    n_unlabelled: int
    """Rows without a label; they are not evaluated."""
    n_tied_prediction: int | None
    """Pairs answered "both"; None for tasks on single clips."""
    n_tied_label: int | None
    """Pairs labelled "both"; None for tasks on single clips."""
    status: Status
    protocol: str
    note: str
    """What a reader must know about this line; usually empty."""


@dataclass(frozen=True, kw_only=True)
class SummaryRecord(Measurement):
    """A dataset and task."""


@dataclass(frozen=True, kw_only=True)
class DetailRecord(Measurement):
    """A group of a dataset's rows."""

    group_key: str
    group_value: str
    ref_category: str | None


@dataclass(frozen=True)
class Evaluation:
    """All that is known after comparing a model with people."""

    settings: MetricSettings
    summary: list[SummaryRecord]
    detail: list[DetailRecord]
    notes: list[str]
    """Rows and groups left out, in sentences."""
    samples: list[Samples]
    """The arrays behind the summary, line by line."""
