"""A sweep as CSV."""

from collections.abc import Sequence

from cmi_bench.reporting.columns import CI_HIGH, CI_LOW
from cmi_bench.reporting.csv_text import csv_text
from cmi_bench.reporting.sweep.records import SweepJob, columns_of


def sweep_csv(jobs: Sequence[SweepJob]) -> str:
    """Return the text of `sweep.csv`: a line for each job, with all metrics and their intervals."""
    columns = columns_of(jobs)
    ends = ("", CI_LOW, CI_HIGH)
    header = ("job", "label", "step", "status", *(column.name + end for column in columns for end in ends), "message")
    lines = (
        {"job": job.number, "label": job.label, "step": job.step, "status": job.status, "message": job.message}
        | {
            column.name + end: number
            for column, value in job.values.items()
            for end, number in zip(ends, value, strict=True)
        }
        for job in jobs
    )
    return csv_text(header, lines)
