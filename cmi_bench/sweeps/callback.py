"""A sweep from its first job to its table: what is written down, whatever becomes of the jobs.

Which differences between a sweep's jobs are real.

Hand the jobs of a sweep to Hydra's launcher, so that one whose process dies does not end the others.
"""

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from cmi_bench.config import Config, checked
from cmi_bench.data.rows import read_jsonl
from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.pairing import Comparison, Run
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.hydra_errors import explain
from cmi_bench.reporting.comparison import write_comparison
from cmi_bench.reporting.sweep import SweepJob, columns_of, has_steps, letters_of, sweep_view, write_sweep
from cmi_bench.sweeps.jobs import (
    NOT_RUN,
    PLAN_FILE,
    SweepPlan,
    plan_jobs,
    read_outcomes,
    read_plan,
    swept_keys,
    write_plan,
)
from cmi_bench.sweeps.record import FAILED, FINISHED, RUNNING, read_record
from cmi_bench.tasks.evaluate import metric_settings
from cmi_bench.tracking.mlflow import RunDescription, TrackingSettings, dataset_name, job_name, model_label
from cmi_bench.tracking.mlflow_store import ChildEnd, MLflowSweep, SeriesPoint
from cmi_bench.utils.console import print_view
from cmi_bench.utils.distributed import is_rank_zero

log = logging.getLogger(__name__)


def compare_jobs(jobs: Sequence[SweepJob], config: Config, settings: MetricSettings) -> Comparison | None:
    """Compare the jobs that have results; None where there is nothing to compare, or no way to.

    Args:
        jobs: Their labels become the runs'.
        config: The sweep's, for `alpha` and `intersect`.
        settings: The evaluation's.
    """
    paths = {job.label: job.folder / "results.jsonl" for job in jobs if job.values}
    if len(paths) < 2 or settings.resamples == 0:
        return None
    runs = [Run(label, [line.value for line in read_jsonl(path)], str(path)) for label, path in paths.items()]
    try:
        return compare_runs(runs, settings, alpha=config.alpha, intersect=config.intersect)
    except UserError as error:  # jobs over different rows, as in a sweep over `subset`
        log.warning("The jobs are not compared. %s", error)
        return None


TABLE_WIDTH = 120
"""Columns, where stdout is no terminal."""


@contextlib.contextmanager
def recorded_sweep(
    config: DictConfig, overrides_of: Sequence[Sequence[str]], *, recipe_keys: Sequence[str]
) -> Iterator[None]:
    """Record the sweep whose jobs run inside, and end with its table.

    Started again in the same folder it goes on: with the same MLflow run, and without the jobs that were finished.

    Args:
        config: The sweep's configuration, Hydra's part in it.
        overrides_of: Each job's overrides.
        recipe_keys: Keys that a recipe goes over.

    Raises:
        UserError: A job failed, was killed or was not run.
    """
    if not is_rank_zero():
        yield
        return
    folder, settings = Path(config.hydra.sweep.dir), sweep_config(config)
    swept = swept_keys(overrides_of, recipe_keys)
    earlier = read_plan(folder)
    name = (
        earlier.name if earlier else f"{settings.sweep.name or ', '.join(swept)} sweep {datetime.now():%Y-%m-%d %H:%M}"
    )
    with parent_run(name, settings, swept) as parent:
        parent.start(earlier.mlflow_run if earlier else None)
        plan = SweepPlan(name, tuple(swept), tuple(plan_jobs(overrides_of, swept)), parent.run_id or None)
        write_plan(plan, folder)
        log.info("%s: %d jobs into %s", name, len(plan.jobs), folder)
        try:
            with _broken_off(folder):
                yield
        finally:
            jobs = _finish(plan, folder, settings, parent)
        _require_finished(jobs, folder)


def sweep_config(config: DictConfig) -> Config:
    """Return what jobs of a sweep have in common as typed objects; what a job alone can know is left out."""
    cfg = copy.deepcopy(config)
    with open_dict(cfg):
        del cfg["hydra"]
        model = OmegaConf.to_container(cfg.model, resolve=True)
        assert isinstance(model, dict)
        cfg.model = {key: value for key, value in model.items() if value != "???"}
        cfg.trainer = {}
    return checked(cfg)


@contextlib.contextmanager
def _broken_off(folder: Path) -> Iterator[None]:
    """Say what it means when the launcher itself fails; a job that fails is no such case."""
    try:
        yield
    except Exception as error:
        if explain(error) is not None:
            raise
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"The sweep broke off ({type(error).__name__}: {reason})", _go_on(folder)) from error


def _finish(plan: SweepPlan, folder: Path, config: Config, parent: MLflowSweep) -> list[SweepJob]:
    """Write the sweep's files, print its table, then tell MLflow."""
    jobs = read_outcomes(plan, folder)
    comparison = compare_jobs(jobs, config, metric_settings(config))
    letters = letters_of(comparison) if comparison else None
    files = [folder / PLAN_FILE, *write_sweep(plan.name, jobs, letters, folder)]
    if comparison is not None:
        files += write_comparison(comparison, folder)
    print_view(sweep_view(jobs, letters), width=TABLE_WIDTH)
    print_view(f"Results: {folder}")
    tell_mlflow(parent, jobs, folder / "sweep.md", files)
    return jobs


def _require_finished(jobs: Sequence[SweepJob], folder: Path) -> None:
    bad = [job for job in jobs if job.status != FINISHED]
    if bad:
        named = ", ".join(f"{job.label} ({job.status})" for job in bad)
        raise UserError(f"{len(bad)} of {len(jobs)} jobs did not finish: {named}.", _go_on(folder))


def _go_on(folder: Path) -> str:
    return f"The same command with hydra.sweep.dir={folder} goes on: finished jobs are not run again."


Job = Sequence[str]
"""A job's overrides."""
Launch = Callable[[Sequence[Job], int], object]
"""Runs jobs in their order, and numbers them from the given number on."""


def launch_all(batches: Sequence[Sequence[Job]], launch: Launch, folder: Path) -> None:
    """Run all jobs.

    When a process dies, those beside it go with it. The jobs that had not begun are run all the same, and at the end
    each of those that were lost once more, alone: what the others' memory killed has a second chance so.

    Args:
        batches: Jobs by what is launched together.
        launch: The launcher's.
        folder: The sweep's folder.
    """
    first, lost = 0, list[int]()
    for batch in batches:
        lost += _launch(batch, first, launch, folder)
        first += len(batch)
    jobs = [job for batch in batches for job in batch]
    for number in lost:
        log.info("Job %d once more, alone", number)
        _launch([jobs[number]], number, launch, folder)


def _launch(batch: Sequence[Job], first: int, launch: Launch, folder: Path) -> list[int]:
    """Launch a batch, again without those that have begun as long as it breaks; return the jobs that were lost."""
    end, lost = first + len(batch), list[int]()
    while first < end:
        try:
            launch(batch[len(batch) - (end - first) :], first)
        except BrokenProcessPool as error:
            records = [read_record(folder / str(number)) for number in range(first, end)]
            mine = zip(range(first, end), records, batch[len(batch) - (end - first) :], strict=True)
            begun = {number: record for number, record, job in mine if record and record.overrides == tuple(job)}
            if not begun:
                raise
            lost += [number for number, record in begun.items() if record.status == RUNNING]
            first = max(begun) + 1
            log.warning("A process died (%s), and those beside it with it.", type(error).__name__)
            continue
        break
    return lost


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
