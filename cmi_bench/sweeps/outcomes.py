"""What became of each job of a sweep, read from the jobs' folders."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from cmi_bench.reporting.sweep.records import Column, SweepJob, Value, values_of
from cmi_bench.sweeps.job_record import FINISHED, KILLED, RUNNING, read_record
from cmi_bench.sweeps.plan import PlannedJob, SweepPlan

DIED = "Its process died, perhaps for want of memory."
log = logging.getLogger(__name__)

NOT_RUN = "not run"


def read_outcomes(plan: SweepPlan, folder: Path) -> list[SweepJob]:
    """Return what became of a sweep's jobs, to be asked when none of them runs any more.

    Args:
        plan: The jobs.
        folder: The sweep's folder.
    """
    return [_outcome(job, folder / str(job.number)) for job in plan.jobs]


def _outcome(job: PlannedJob, folder: Path) -> SweepJob:
    record = read_record(folder)
    if record is None or record.overrides != job.overrides:
        return SweepJob(number=job.number, label=job.label, step=job.step, status=NOT_RUN, folder=folder)
    died = record.status == RUNNING
    return SweepJob(
        number=job.number,
        label=job.label,
        step=job.step,
        status=KILLED if died else record.status,
        message=DIED if died else record.message,
        folder=folder,
        ended=record.ended,
        values=_values(folder / "metrics.json") if record.status == FINISHED else {},
    )


def _values(path: Path) -> Mapping[Column, Value]:
    try:
        return values_of(json.loads(path.read_text(encoding="utf-8"))["summary"])
    except FileNotFoundError:  # a task that measures no agreement
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s): its job is listed without metrics.", path, error)
        return {}
