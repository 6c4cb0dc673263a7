"""The column names of the result files: here is the border between records and files.

The first columns are those of the public evaluator, which other tools read; more columns follow.
"""

from collections.abc import Mapping

from cmi_bench.evaluation.metrics import ACC, K_TAU, LCC, SRCC
from cmi_bench.evaluation.records import DetailRecord, Measurement

Cell = str | int | float | None

COUNT_COLUMNS = ("n_failed", "n_unlabelled", "n_tied_prediction", "n_tied_label")
OWN_COLUMNS = (*COUNT_COLUMNS, "status", "protocol", "note")
"""What the public files do not have; each is an attribute of a record."""

CI_LOW, CI_HIGH = "_ci_low", "_ci_high"
EXACT_LOW, EXACT_HIGH = "_exact_low", "_exact_high"


def _bounds(*metrics: str) -> tuple[str, ...]:
    return tuple(metric + end for metric in metrics for end in (CI_LOW, CI_HIGH))


EXACT_COLUMNS = (ACC + EXACT_LOW, ACC + EXACT_HIGH)
SUMMARY_COLUMNS = (
    *("dataset", "task", "n", SRCC, LCC, K_TAU, ACC),
    *OWN_COLUMNS,
    *_bounds(SRCC, LCC, K_TAU, ACC),
    *EXACT_COLUMNS,
)
DETAIL_COLUMNS = (
    *("dataset", "task", "group_key", "group_value", "n", ACC, "ref_category", SRCC),
    *OWN_COLUMNS,
    *_bounds(ACC, SRCC),
    *EXACT_COLUMNS,
)


def cells(record: Measurement) -> Mapping[str, Cell]:
    """Return a record's values by column: metrics that the task does not have are not in it.

    A metric that is undefined or not applicable is None, as is a count that the task does not have.
    """
    group = (
        {"group_key": record.group_key, "group_value": record.group_value} if isinstance(record, DetailRecord) else {}
    )
    category = {"ref_category": record.ref_category} if isinstance(record, DetailRecord) and record.ref_category else {}
    return {
        "dataset": record.dataset,
        "task": record.task,
        **group,
        **category,
        "n": record.n,
        **record.metrics,
        **{column: getattr(record, column) for column in OWN_COLUMNS},
        **_interval_cells(record),
    }


def _interval_cells(record: Measurement) -> Mapping[str, Cell]:
    """Return the ends of the intervals by column; those of an interval that does not exist are not in it."""
    found: dict[str, Cell] = {}
    for metric, interval in record.intervals.items():
        if interval.low is not None:
            found |= {metric + CI_LOW: interval.low, metric + CI_HIGH: interval.high}
        if interval.exact is not None:
            found |= {metric + EXACT_LOW: interval.exact.low, metric + EXACT_HIGH: interval.exact.high}
    return found
