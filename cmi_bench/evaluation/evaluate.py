"""The evaluation: from scored rows to the lines of the summary and of the detail table."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from cmi_bench.config import Clustering, MetricSettings
from cmi_bench.data.audio_info import Durations
from cmi_bench.data.datasets import Dataset, PairTask
from cmi_bench.evaluation.collapse import ClipScores
from cmi_bench.evaluation.groups import DurationReader, Group, GroupReader
from cmi_bench.evaluation.intervals import Interval, metric_intervals
from cmi_bench.evaluation.metrics import LCC, Metric, Shown, Statistic, metrics_of
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.raters import RaterRecord, RatingReader, rater_record
from cmi_bench.evaluation.reading import RowView, read_rows
from cmi_bench.evaluation.resampling import Floats
from cmi_bench.evaluation.samples import SampleReader, Samples, rows_text, select_rows
from cmi_bench.evaluation.uncertainty import UncertaintyRecord, uncertainty_record


class Status(StrEnum):
    """What the metrics of a line are worth."""

    OK = "ok"
    UNDEFINED = "undefined"
    """A metric cannot be computed from these rows; the note says why."""
    NOT_APPLICABLE = "not applicable"
    """The model does not judge this."""


# Generated representations of records and of what holds them would be pages of nested values.
@dataclass(frozen=True, kw_only=True, repr=False)
class Measurement:
    """What some rows of one task come to."""

    dataset: str
    task: str
    n: int
    """Rows the metrics are computed from; pairs whose prediction failed are among them under `strict`."""
    metrics: Mapping[str, float | None]
    """By name (such as SRCC): those that the task has; None where undefined or not applicable."""
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

    @property
    def place(self) -> str:
        """What was measured, in words."""
        return f"{self.dataset} {self.task}"

    @property
    def short(self) -> str:
        """What came out, in a line."""
        values = (f"{name} {self.status if value is None else f'{value:.4f}'}" for name, value in self.metrics.items())
        return f"{self.place} (n={self.n}): {', '.join(values)}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.short}>"


@dataclass(frozen=True, kw_only=True, repr=False)
class SummaryRecord(Measurement):
    """A dataset and task."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DetailRecord(Measurement):
    """A group of a dataset's rows."""

    group_key: str
    group_value: str
    ref_category: str | None

    @property
    def place(self) -> str:
        """What was measured, in words."""
        category = f", {self.ref_category}" if self.ref_category else ""
        return f"{super().place}, {self.group_key} {self.group_value}{category}"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All that is known after comparing a model with people."""

    settings: MetricSettings
    summary: list[SummaryRecord]
    detail: list[DetailRecord]
    notes: list[str]
    """Rows and groups left out, in sentences."""
    samples: list[Samples]
    """The arrays behind the summary, line by line."""
    raters: list[RaterRecord] = field(default_factory=list)
    """Of the tasks whose rows several raters judged."""
    uncertainty: list[UncertaintyRecord] = field(default_factory=list)
    """Of the tasks on which the model is an ensemble."""

    def __repr__(self) -> str:
        lines = [f"  {record.short}" for record in self.summary[:SHOWN_RECORDS]]
        more = len(self.summary) - len(lines)
        title = f"{self.title}, protocol {self.settings.protocol}, groups: {len(self.detail)}, notes: {len(self.notes)}"
        return "\n".join([f"<{title}", *lines, *([f"  and {more} more"] if more else [])]) + ">"

    @property
    def title(self) -> str:
        """What this is, in a few words."""
        return type(self).__name__


SHOWN_RECORDS = 12
"""Lines of the summary that the representation of an evaluation shows."""


def summary_record(samples: Samples, settings: MetricSettings) -> SummaryRecord:
    """Measure all rows of a task."""
    metrics = metrics_of(samples.task, Shown.SUMMARY, settings)
    return SummaryRecord(**_measure(samples, metrics, settings, place_of(samples)))


def detail_record(samples: Samples, group: Group, settings: MetricSettings) -> DetailRecord:
    """Measure the rows of a group.

    Args:
        samples: All rows of the task; `group.members` is a mask over them.
        group: The rows chosen.
        settings: How intervals are made.
    """
    metrics = metrics_of(samples.task, Shown.DETAIL, settings)
    return DetailRecord(
        group_key=group.key,
        group_value=group.value,
        ref_category=group.ref_category,
        **_measure(samples.take(group.members), metrics, settings, place_of(samples, group)),
    )


def place_of(samples: Samples, group: Group | None = None) -> tuple[str, ...]:
    """Return the names of a place in the tables, which is what its random stream is derived from."""
    place = (samples.dataset.name, samples.task.name)
    return place if group is None else (*place, group.key, group.value, group.ref_category or "")


def _measure(
    samples: Samples, metrics: Sequence[Metric], settings: MetricSettings, place: tuple[str, ...]
) -> dict[str, Any]:
    """Return the fields of a `Measurement`."""
    evaluated = samples.evaluated()
    systems = evaluated.by_system()
    rows_of_metric = {metric: systems if metric.is_of_systems else evaluated for metric in metrics}
    statistics = {
        metric.name: metric.value(chosen.label, chosen.prediction)
        for metric, chosen in rows_of_metric.items()
        if chosen is not None
    }
    is_pair = isinstance(samples.task, PairTask)
    return {
        "dataset": samples.dataset.name,
        "task": samples.task.name,
        "n": evaluated.label.size,
        "metrics": {name: statistic.value for name, statistic in statistics.items()},
        "intervals": _intervals(metrics, evaluated, systems, settings, place) if settings.resamples else {},
        "n_failed": int(samples.is_failed.sum()) if samples.applicable else 0,
        "n_unlabelled": int((~samples.is_labelled).sum()),
        "n_tied_prediction": int((evaluated.prediction == 0).sum()) if is_pair else None,
        "n_tied_label": int((evaluated.label == 0).sum()) if is_pair else None,
        "status": _status(samples, statistics),
        "protocol": samples.protocol.name.value,
        "note": _note(samples, statistics, evaluated),
    }


def _intervals(
    metrics: Sequence[Metric],
    evaluated: Samples,
    systems: Samples | None,
    settings: MetricSettings,
    place: tuple[str, ...],
) -> dict[str, Interval]:
    """Return the intervals of the metrics that have a value; those of systems' means are over systems."""
    of_rows = [metric for metric in metrics if not metric.is_of_systems]
    of_systems = [metric for metric in metrics if metric.is_of_systems]
    found = metric_intervals(evaluated, of_rows, settings, place)
    if systems is not None:
        found |= metric_intervals(systems, of_systems, replace(settings, cluster=Clustering.system), place)
    return found


def _status(samples: Samples, statistics: Mapping[str, Statistic]) -> Status:
    if not samples.applicable:
        return Status.NOT_APPLICABLE
    return Status.UNDEFINED if any(statistic.reason for statistic in statistics.values()) else Status.OK


def _note(samples: Samples, statistics: Mapping[str, Statistic], evaluated: Samples) -> str:
    if not samples.applicable:
        return f"not applicable: the model gives no {samples.task.aspect} score"
    is_pair = isinstance(samples.task, PairTask)
    # Several metrics are often undefined for one reason; it is named once.
    names_of: dict[str, list[str]] = {}
    for name, statistic in statistics.items():
        names_of.setdefault(statistic.reason, []).append(name)
    parts = [f"{', '.join(names)} undefined: {reason}" for reason, names in names_of.items() if reason]
    for failures, fate in (
        (samples.is_failed & samples.is_evaluated, "scored 0" if is_pair else "ranked worst"),
        (samples.is_failed & ~samples.is_evaluated, "left out"),
    ):
        if failures.any():
            parts.append(f"{failures.sum()} failed, {fate}")
    if LCC in statistics and (kurtosis := _kurtosis(evaluated.prediction)) > HEAVY_TAILS:
        parts.append(f"scores have heavy tails (kurtosis {kurtosis:.1f}): prefer SRCC to LCC")
    return "; ".join(parts)


HEAVY_TAILS = 4.5
"""Kurtosis of scores (3 for a normal distribution) above which LCC's interval holds the truth too rarely."""


def _kurtosis(values: Floats) -> float:
    """Return the fourth moment over the squared second, 0 for fewer than two different values."""
    if values.size < 2 or not np.isfinite(values).all():
        return 0.0
    scale = float(np.abs(values - values.mean()).max())
    deviation = (values - values.mean()) / scale if scale > 0 else np.zeros_like(values)
    square = float(np.square(deviation).mean())
    return float((deviation**4).mean()) / square**2 if square > 0 else 0.0


logger = logging.getLogger(__name__)


def evaluate(
    rows: Sequence[Mapping[str, Any]],
    settings: MetricSettings | None = None,
    *,
    durations: Durations | None = None,
    origin: str = "results",
) -> Evaluation:
    """Compare a model's scores with what people said.

    Args:
        rows: Results rows: a benchmark row's own fields and the predicted ones (see `data.fields`).
        settings: Protocol, metrics and groups; None for the defaults.
        durations: How long the clips are, for `by_duration`; None leaves those groups out.
        origin: What the rows were read from, for messages.

    Returns:
        One summary record for each task of each dataset that has rows, and the groups.

    Raises:
        UserError: Under `strict`, a label that is not understood.
    """
    settings = settings or MetricSettings()
    selection = select_rows(rows, settings.split)
    clips = ClipScores()
    read = [
        _DatasetReader(dataset, chosen, settings, durations, clips, origin)
        for dataset, chosen in selection.rows_of.items()
    ]
    notes = selection.notes
    del selection  # and with it which rows are whose: of long files every array counts
    samples = [samples for one in read for samples in one.samples]
    detail = [*_measure_groups(read, settings), *_measure_durations(read, settings)]
    return Evaluation(
        settings=settings,
        summary=[summary_record(one, settings) for one in samples],
        detail=detail,
        notes=[
            *notes,
            *(note for one in read for note in one.groups.notes),
            *_duration_notes(read, durations, settings),
            *clips.notes(),
        ],
        samples=samples,
        raters=[
            record
            for one in read
            for of_task in one.samples
            if (record := rater_record(of_task, one.ratings[of_task.task].ratings(), settings)) is not None
        ],
        uncertainty=[found for one in samples if (found := uncertainty_record(one, settings)) is not None],
    )


class _DatasetReader:
    """All that is read of a dataset's rows, in one pass."""

    def __init__(
        self,
        dataset: Dataset,
        rows: RowView,
        settings: MetricSettings,
        durations: Durations | None,
        clips: ClipScores,
        origin: str,
    ) -> None:
        samples = SampleReader(dataset, PROTOCOLS[settings.protocol], origin=origin)
        self.groups = GroupReader(dataset, settings)
        self.ratings = {task: RatingReader(task) for task in dataset.tasks}
        wanted = durations if settings.by_duration else None
        self.durations = None if wanted is None else DurationReader(wanted, settings.duration_bins)
        timed = [] if self.durations is None else [self.durations]
        read_rows(rows, samples, self.groups, clips, *self.ratings.values(), *timed)
        self.samples = samples.samples()


def _measure_groups(read: Sequence[_DatasetReader], settings: MetricSettings) -> Iterator[DetailRecord]:
    for one in read:
        samples_of = {samples.task: samples for samples in one.samples}
        for task, group in one.groups.groups():
            if task in samples_of:
                yield detail_record(samples_of[task], group, settings)


def _measure_durations(read: Sequence[_DatasetReader], settings: MetricSettings) -> Iterator[DetailRecord]:
    groups = [(one.samples, one.durations.groups()) for one in read if one.durations is not None]
    # Alphabetical, as in the public tables: "[120,500]" comes before "[30,60)".
    for name in sorted({name for _, of_dataset in groups for name in of_dataset}):
        for samples, of_dataset in groups:
            if name in of_dataset:
                yield from (detail_record(one, of_dataset[name], settings) for one in samples)


def _duration_notes(read: Sequence[_DatasetReader], durations: Durations | None, settings: MetricSettings) -> list[str]:
    """Return notes on the rows that are in no group by duration."""
    if not settings.by_duration:
        return []
    if durations is None:
        return [_log_note("Groups by clip duration left out: no durations are known.")]
    found = [one.durations for one in read if one.durations is not None]
    total, unknown, outside = (
        (sum(counts) for counts in zip(*(one.counts for one in found), strict=True)) if found else (0, 0, 0)
    )
    if total and unknown == total:
        return [_log_note("Groups by clip duration left out: no clip's duration is known.")]
    edges = settings.duration_bins
    notes = []
    if unknown:
        notes.append(_log_note(f"{rows_text(unknown)} of unknown duration: in no duration group."))
    if outside:
        notes.append(_log_note(f"{rows_text(outside)} outside {edges[0]:g} to {edges[-1]:g} s: in no duration group."))
    return notes


def _log_note(note: str) -> str:
    """Log a note for the record; people read it under the table."""
    logger.debug(note)
    return note
