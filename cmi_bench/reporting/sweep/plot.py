"""The plot of a sweep."""

from collections.abc import Sequence

from cmi_bench.reporting.plots.plot import Plot
from cmi_bench.reporting.plots.sweep import SweepPanel, SweepPoint, sweep_plot
from cmi_bench.reporting.sweep.records import Column, SweepJob, columns_of


def metrics_plot(jobs: Sequence[SweepJob]) -> Plot | None:
    """Draw the main metrics of the finished jobs; None where there is nothing to draw."""
    columns = columns_of(jobs, main=True)
    if not columns:
        return None
    by_step = has_steps(jobs)
    panels = [SweepPanel(f"{one.dataset} {one.task}, {one.metric}", _points(jobs, one, by_step)) for one in columns]
    along = "step" if by_step else "job"
    labels = None if by_step else [job.label for job in jobs]
    return sweep_plot(
        panels, labels=labels, name=f"metrics_by_{along}", alt=f"The main metric of each task by {along}."
    )


def has_steps(jobs: Sequence[SweepJob]) -> bool:
    """Whether the jobs are steps of one training: each finished one has a step of its own."""
    steps = [job.step for job in jobs if job.values]
    return len(steps) > 1 and None not in steps and len(set(steps)) == len(steps)


def _points(jobs: Sequence[SweepJob], column: Column, by_step: bool) -> list[SweepPoint]:
    there = [(at, job, job.values[column]) for at, job in enumerate(jobs) if column in job.values]
    return [
        SweepPoint((job.step or 0) if by_step else at, value.value, value.low, value.high) for at, job, value in there
    ]
