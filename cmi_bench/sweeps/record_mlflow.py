"""What MLflow is told of a sweep."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.reporting.sweep.plot import has_steps
from cmi_bench.reporting.sweep.records import SweepJob, columns_of
from cmi_bench.sweeps.job_record import FAILED, FINISHED
from cmi_bench.sweeps.outcomes import NOT_RUN
from cmi_bench.tracking.describe import dataset_name, job_name, model_label
from cmi_bench.tracking.mlflow_run import RunDescription, TrackingSettings
from cmi_bench.tracking.mlflow_sweep import ChildEnd, MLflowSweep, SeriesPoint

RECORDED_TASK = "benchmark"
"""The task whose runs MLflow knows."""
STATUS = {FINISHED: "FINISHED", FAILED: "FAILED"}


def parent_run(name: str, config: Config, swept: Sequence[str]) -> MLflowSweep:
    """Return the run above the jobs'; it records nothing if the jobs do not.

    Args:
        name: The sweep's.
        config: The sweep's configuration.
        swept: Keys in which the jobs differ.
    """
    tracking, groups = config.tracking, {key.partition(".")[0] for key in swept}
    same = {}  # what all jobs have in common
    if "model" not in swept:
        same["model"] = model_label(config.model)
    if not groups & {"data", "subset"}:
        same["dataset"] = dataset_name(config)
    uri = tracking.uri if config.task == RECORDED_TASK else None
    settings = TrackingSettings(uri, tracking.experiment, tracking.artifacts)
    return MLflowSweep(settings, RunDescription(name, same, same | {"sweep": ", ".join(swept)}))


def tell_mlflow(run: MLflowSweep, jobs: Sequence[SweepJob], table: Path, files: Sequence[Path]) -> None:
    """Complete the parent run: every job has its run, the metrics by step, the table, the files."""
    run.end_children([_end(job, run) for job in jobs if job.status != NOT_RUN])
    finished = sum(job.status == FINISHED for job in jobs)
    run.log_metrics({"jobs": len(jobs), "jobs_finished": finished, "jobs_failed": len(jobs) - finished})
    run.log_series(list(_series(jobs)))
    # The page has the heading already.
    run.describe(table.read_text(encoding="utf-8").partition("\n\n")[2], files)


def _end(job: SweepJob, run: MLflowSweep) -> ChildEnd:
    same = run.description.params
    return ChildEnd(
        number=job.number,
        name=job_name(same["model"], job.label) if "model" in same else job.label,
        status=STATUS.get(job.status, "KILLED"),
        message=job.message,
        params={**same, "step": str(job.step)} if job.step is not None else same,
        tags=same,
        metrics={column.name: value.value for column, value in job.values.items()},
    )


def _series(jobs: Sequence[SweepJob]) -> Iterator[SeriesPoint]:
    by_step = has_steps(jobs)
    for column in columns_of(jobs, main=True):
        for job in jobs:
            if column in job.values:
                name = f"{'by_step' if by_step else 'by_job'}/{column.name}"
                step = job.step if by_step and job.step is not None else job.number
                yield SeriesPoint(name, step, job.values[column].value, job.ended or 0.0)
