"""The plan of a sweep, `sweep.json` in its folder: which jobs there are, and the MLflow run above theirs.

It is written before the first job starts, so that each job knows its place in the sweep.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cmi_bench.utils.files import json_text, write_text_atomic

PLAN_FILE = "sweep.json"
PARENT_TAG, JOB_TAG = "mlflow.parentRunId", "sweep_job"
"""MLflow's own tag, by which its UI puts a run under another; and the job's number."""


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep."""

    number: int
    """Name of its folder in the sweep's. It stays when the sweep is started again with other jobs before this one."""
    overrides: tuple[str, ...]
    """As Hydra gets them, without the credentials of addresses."""
    label: str
    """What distinguishes it from the other jobs; no two jobs have the same."""
    step: int | None
    """Training step in the name of its checkpoint."""


@dataclass(frozen=True)
class SweepPlan:
    """The jobs of a sweep and where they are recorded."""

    name: str
    swept: tuple[str, ...]
    """Keys in which the jobs differ."""
    jobs: tuple[PlannedJob, ...]
    """In Hydra's order."""
    mlflow_run: str | None
    """The parent run; None if nothing is recorded."""


def job_folder(folder: str, position: int) -> str:
    """Return the name of a job's folder in the sweep's: the resolver `${job_folder:}`.

    Args:
        folder: The sweep's.
        position: Hydra's number of the job: its place among the jobs of this start.
    """
    plan = read_plan(Path(folder))
    return str(plan.jobs[position].number if plan and position < len(plan.jobs) else position)


def write_plan(plan: SweepPlan, folder: Path) -> None:
    """Write the plan for the jobs, and for the same sweep started again."""
    write_text_atomic(folder / PLAN_FILE, json_text(asdict(plan)))


def read_plan(folder: Path) -> SweepPlan | None:
    """Return the plan in a sweep's folder; None if there is none, or none that can be read."""
    try:
        found = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
        jobs = (PlannedJob(**job | {"overrides": tuple(job["overrides"])}) for job in found["jobs"])
        return SweepPlan(str(found["name"]), tuple(found["swept"]), tuple(jobs), found["mlflow_run"])
    except (OSError, ValueError, KeyError, TypeError):  # written by something else, or half of it
        return None


class SweepPlace(NamedTuple):
    """A run's place in a sweep."""

    label: str
    """By what it differs from the sweep's other runs."""
    step: int | None
    """Training step of its checkpoint."""
    number: int
    parent_run: str | None
    """MLflow run of the sweep."""
    sweep: str = ""
    """The sweep's name."""

    @property
    def tags(self) -> dict[str, str]:
        """What puts the run under the sweep's."""
        return {PARENT_TAG: self.parent_run, JOB_TAG: str(self.number)} if self.parent_run else {}


def sweep_place() -> SweepPlace | None:
    """Return the place of this process's job in its sweep; None outside of a sweep."""
    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN:
        return None
    plan, position = read_plan(Path(hydra.sweep.dir)), int(hydra.job.num)
    if plan is None or position >= len(plan.jobs):
        return None
    job = plan.jobs[position]
    return SweepPlace(label=job.label, step=job.step, number=job.number, parent_run=plan.mlflow_run, sweep=plan.name)
