"""The result tables as CSV."""

from collections.abc import Iterable

from cmi_bench.evaluation.records import DetailRecord, SummaryRecord
from cmi_bench.reporting.columns import DETAIL_COLUMNS, SUMMARY_COLUMNS, cells
from cmi_bench.reporting.csv_text import csv_text


def summary_csv(records: Iterable[SummaryRecord]) -> str:
    """Return the text of `metrics_summary.csv`; a cell without a value is empty."""
    return csv_text(SUMMARY_COLUMNS, map(cells, records))


def detail_csv(records: Iterable[DetailRecord]) -> str:
    """Return the text of `metrics_detail.csv`: the header alone where there are no groups."""
    return csv_text(DETAIL_COLUMNS, map(cells, records))
