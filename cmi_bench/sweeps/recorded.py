"""A sweep from its first job to its table: what is written down, whatever becomes of the jobs."""

import contextlib
import copy
import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from cmi_bench.config import Config
from cmi_bench.entry import checked
from cmi_bench.errors import UserError
from cmi_bench.explain import explain
from cmi_bench.ranks import is_rank_zero
from cmi_bench.reporting.comparison.write import write_comparison
from cmi_bench.reporting.console import print_view
from cmi_bench.reporting.sweep.letters import letters_of
from cmi_bench.reporting.sweep.records import SweepJob
from cmi_bench.reporting.sweep.terminal import sweep_view
from cmi_bench.reporting.sweep.write import write_sweep
from cmi_bench.sweeps.comparison import compare_jobs
from cmi_bench.sweeps.job_record import FINISHED
from cmi_bench.sweeps.outcomes import read_outcomes
from cmi_bench.sweeps.plan import PLAN_FILE, SweepPlan, plan_jobs, read_plan, swept_keys, write_plan
from cmi_bench.sweeps.record_mlflow import parent_run, tell_mlflow
from cmi_bench.tasks.report import metric_settings
from cmi_bench.tracking.mlflow_sweep import MLflowSweep

log = logging.getLogger(__name__)

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
