"""Where a job stands in its sweep, as the job itself finds out."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cmi_bench.sweeps.plan import read_plan
from cmi_bench.tracking.describe import SweepPlace


def sweep_place() -> SweepPlace | None:
    """Return this process's place in a sweep; None outside of one."""
    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN:
        return None
    plan, number = read_plan(Path(hydra.sweep.dir)), int(hydra.job.num)
    if plan is None or number >= len(plan.jobs):
        return None
    job = plan.jobs[number]
    return SweepPlace(label=job.label, step=job.step, number=number, parent_run=plan.mlflow_run)
