"""The page's first lines: each task's main number."""

from collections.abc import Sequence
from typing import NamedTuple

from cmi_bench.evaluation.records import SummaryRecord
from cmi_bench.reporting.html.wording import count, interval_text, main_metric, metric_text


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
