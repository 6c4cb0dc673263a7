"""The page's tables, its tiles of main numbers, and the facts of the run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cmi_bench.config import Clustering, MetricSettings, ProtocolName
from cmi_bench.evaluation.evaluate import DetailRecord, Measurement, SummaryRecord
from cmi_bench.evaluation.metrics import all_metrics
from cmi_bench.reporting.format import percent_name
from cmi_bench.reporting.html.format import (
    ReportSource,
    count,
    interval_text,
    key_name,
    main_metric,
    metric_text,
    value_name,
)
from cmi_bench.tracking.metadata import look_up


class Fact(NamedTuple):
    """A name and what it stands for."""

    name: str
    value: str


PROTOCOLS = {
    True: "strict: a tie is the answer \N{LEFT DOUBLE QUOTATION MARK}both\N{RIGHT DOUBLE QUOTATION MARK}; failed pairs "
    "score 0 and are counted; rows without a label are left out and counted",
    False: "paper: as the public evaluator; ties count as B, rows without label or prediction are dropped",
}
FROM_METADATA: Sequence[tuple[str, Sequence[str]]] = (
    ("started (UTC)", ("started",)),
    ("model", ("model", "name")),
    ("class", ("model", "class")),
    ("weights", ("model", "digest")),
    ("checkpoint", ("config", "model", "checkpoint")),
    ("device", ("device",)),
    ("precision", ("precision",)),
    ("seconds of a clip looked at", ("config", "max_dur")),
    ("seed", ("seed",)),
    ("clips scored", ("counts", "scored")),
    ("clips failed", ("counts", "failed")),
    ("wall time (s)", ("seconds", "wall")),
    ("rows' file (SHA-256)", ("data", "jsonl_sha256")),
    ("decoder", ("decoder",)),
    ("git commit", ("git", "commit")),
    ("uncommitted changes", ("git", "dirty")),
)
"""What is shown, and where it is in `metadata.json`."""


def run_facts(source: ReportSource) -> list[Fact]:
    """Return what is known of the run; nothing without its metadata."""
    metadata = source.metadata or {}
    return [
        *(
            Fact(name, _in_words(value))
            for name, path in FROM_METADATA
            if (value := look_up(metadata, *path)) is not None
        ),
        *_command(metadata),
    ]


def subtitle(source: ReportSource) -> str:
    """Return on what and when the run was; empty without its metadata."""
    metadata = source.metadata or {}
    data, subset, started = (
        look_up(metadata, *path) for path in (("config", "data", "name"), ("config", "subset", "name"), ("started",))
    )
    where = f"on {data}" + (f"/{subset}" if subset and subset != "all" else "") if data else ""
    return ", ".join(part for part in (where, str(started)[:10] if started else "") if part)


def version_facts(source: ReportSource) -> list[Fact]:
    """Return the versions of what computed the numbers."""
    versions = look_up(source.metadata, "versions")
    return [Fact(name, str(value)) for name, value in versions.items()] if isinstance(versions, Mapping) else []


def evaluation_facts(settings: MetricSettings) -> list[Fact]:
    """Return how the numbers were made."""
    drawn = "whole prompts" if settings.cluster == Clustering.prompt else "rows"
    intervals = (
        f"{percent_name(settings.confidence)}, percentile bootstrap of {count(settings.resamples, 'resample')} "
        f"of {drawn}, seed {settings.seed}"
        if settings.resamples
        else "none"
    )
    return [
        Fact("protocol", PROTOCOLS[settings.protocol == ProtocolName.strict]),
        Fact("split", settings.split),
        Fact("intervals", intervals),
    ]


def _command(metadata: Mapping[str, Any]) -> Iterator[Fact]:
    words = metadata.get("argv")
    if isinstance(words, list):
        yield Fact("command", "python " + shlex.join(map(str, words)))


def _in_words(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


COUNTS = {
    "n_failed": "failed",
    "n_unlabelled": "no label",
    "n_tied_prediction": "predicted ties",
    "n_tied_label": "label ties",
}
"""Attributes of a record, and their columns."""


class Cell(NamedTuple):
    """One place of a table."""

    text: str
    kind: str = "number"
    """"head" (names the row), "text" or "number"."""
    below: str = ""
    """Smaller, on a line of its own: the interval."""


class Table(NamedTuple):
    """A table for the page."""

    caption: str
    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


def summary_table(records: Sequence[SummaryRecord]) -> Table:
    """Return the table of all tasks."""
    return _table("All tasks", ("dataset", "task"), records, [(one.dataset, one.task) for one in records])


def detail_table(records: Sequence[DetailRecord]) -> Table:
    """Return the table of all groups."""
    names = [(one.dataset, one.task, key_name(one), value_name(one)) for one in records]
    return _table("All groups", ("dataset", "task", "group by", "group"), records, names)


def _table(
    caption: str, naming: Sequence[str], records: Sequence[Measurement], names: Sequence[Sequence[str]]
) -> Table:
    registered = (metric.name for metric in all_metrics())
    metrics = [name for name in registered if any(name in record.metrics for record in records)]
    counts = [name for name in COUNTS if any(getattr(record, name) for record in records)]
    notes = any(record.note for record in records)
    columns = [
        *(Cell(name, "text") for name in naming),
        *map(Cell, ("n", *metrics, *(COUNTS[name] for name in counts))),
        *([Cell("note", "text")] if notes else []),
    ]
    rows = [
        [
            *(Cell(name, "head" if place < 2 else "text") for place, name in enumerate(named)),
            Cell(f"{record.n:,}"),
            *(_metric(record, name) for name in metrics),
            *(_count(getattr(record, name)) for name in counts),
            *([Cell(record.note, "text")] if notes else []),
        ]
        for record, named in zip(records, names, strict=True)
    ]
    return Table(caption, columns, rows)


def _metric(record: Measurement, name: str) -> Cell:
    return Cell(metric_text(record, name), below=interval_text(record.intervals.get(name)))


def _count(value: int | None) -> Cell:
    return Cell("" if value is None else f"{value:,}")


class Tile(NamedTuple):
    """One number, large."""

    title: str
    metric: str
    value: str
    interval: str
    below: str
    warns: bool
    """Whether rows failed."""


def tiles(records: Sequence[SummaryRecord]) -> list[Tile]:
    """Return a tile for each task."""
    return [_tile(record) for record in records]


def _tile(record: SummaryRecord) -> Tile:
    metric = main_metric(record)
    failed = f", {record.n_failed:,} failed" if record.n_failed else ""
    return Tile(
        title=f"{record.dataset}, {record.task}",
        metric=metric,
        value=metric_text(record, metric),
        interval=interval_text(record.intervals.get(metric)),
        below=count(record.n, "row") + failed,
        warns=record.n_failed > 0,
    )
