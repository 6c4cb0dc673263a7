"""The evaluation: from scored rows to the tables."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cmi_bench.data.datasets import Dataset, Task
from cmi_bench.evaluation.durations import Durations, row_seconds
from cmi_bench.evaluation.groups import Group, duration_bin, duration_groups, task_groups
from cmi_bench.evaluation.measure import detail_record, summary_record
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.records import DetailRecord, Evaluation
from cmi_bench.evaluation.samples import Samples, read_samples
from cmi_bench.evaluation.selection import Selection, in_words, select_rows
from cmi_bench.evaluation.settings import MetricSettings

logger = logging.getLogger(__name__)

SamplesOf = Mapping[tuple[Dataset, Task], Samples]


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
        UserError: Under `honest`, a label that is not understood.
    """
    settings = settings or MetricSettings()
    selection = select_rows(rows, settings.split)
    protocol = PROTOCOLS[settings.protocol]
    samples_of = {
        (dataset, task): read_samples(chosen, dataset, task, protocol, origin=origin)
        for dataset, chosen in selection.rows_of.items()
        for task in dataset.tasks
    }
    detail, group_notes = _measure_groups(selection, samples_of, settings, durations)
    return Evaluation(
        settings=settings,
        summary=[summary_record(samples, settings) for samples in samples_of.values()],
        detail=detail,
        notes=[*selection.notes, *group_notes],
        samples=list(samples_of.values()),
    )


def _measure_groups(
    selection: Selection, samples_of: SamplesOf, settings: MetricSettings, durations: Durations | None
) -> tuple[list[DetailRecord], list[str]]:
    """Return the detail table, and notes on what is in none of its groups."""
    detail = [
        detail_record(samples_of[dataset, task], group, settings)
        for dataset, rows in selection.rows_of.items()
        for task, group in task_groups(dataset, rows, settings)
    ]
    if not settings.by_duration:
        return detail, []
    labels, notes = _duration_labels(selection, durations, settings)
    return [*detail, *_by_duration(labels, samples_of, settings)], notes


def _duration_labels(
    selection: Selection, durations: Durations | None, settings: MetricSettings
) -> tuple[dict[Dataset, list[str | None]], list[str]]:
    """Return the duration bin of each row, by dataset, and notes on the rows that are in none."""
    if durations is None:
        return {}, [_said("Groups by clip duration left out: no durations are known.")]
    seconds = {
        dataset: [row_seconds(row.raw, durations) for row in rows] for dataset, rows in selection.rows_of.items()
    }
    lengths = [length for of_dataset in seconds.values() for length in of_dataset]
    known = [length for length in lengths if length is not None]
    if lengths and not known:
        return {}, [_said("Groups by clip duration left out: no clip's duration is known.")]
    edges = settings.duration_bins
    outside = sum(duration_bin(length, edges) is None for length in known)
    notes = []
    if len(known) < len(lengths):
        notes.append(_said(f"{in_words(len(lengths) - len(known))} of unknown duration: in no duration group."))
    if outside:
        notes.append(_said(f"{in_words(outside)} outside {edges[0]:g} to {edges[-1]:g} s: in no duration group."))
    labels = {
        dataset: [duration_bin(length, edges) for length in of_dataset] for dataset, of_dataset in seconds.items()
    }
    return labels, notes


def _by_duration(
    labels: Mapping[Dataset, Sequence[str | None]], samples_of: SamplesOf, settings: MetricSettings
) -> Iterator[DetailRecord]:
    groups: dict[Dataset, dict[str, Group]] = {
        dataset: duration_groups(of_dataset) for dataset, of_dataset in labels.items()
    }
    # Alphabetical, as in the public tables: "[120,500]" comes before "[30,60)".
    for name in sorted({name for of_dataset in groups.values() for name in of_dataset}):
        for (dataset, _), samples in samples_of.items():
            if name in groups[dataset]:
                yield detail_record(samples, groups[dataset][name], settings)


def _said(note: str) -> str:
    """Log a note for the record; people read it under the table."""
    logger.debug(note)
    return note
