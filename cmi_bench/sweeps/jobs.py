"""The jobs of a sweep: how they are named before any starts, and what became of each."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.models.hub import checkpoint_name
from cmi_bench.reporting.sweep import SweepJob, Value, values_of
from cmi_bench.sweeps.checkpoints import step_of
from cmi_bench.sweeps.record import FINISHED, KILLED, RUNNING, read_record
from cmi_bench.tracking.sweep_plan import PlannedJob, SweepPlan

log = logging.getLogger(__name__)

CHECKPOINT = "model.checkpoint"
NOT_RUN = "not run"
DIED = "Its process died, perhaps for want of memory."


def swept_keys(overrides_of: Sequence[Sequence[str]], recipe_keys: Sequence[str]) -> list[str]:
    """Return the keys in which jobs differ; of a single job, those of the recipe."""
    values = [_override_values(overrides) for overrides in overrides_of]
    keys = dict.fromkeys(key for one in values for key in one)
    swept = [key for key in keys if len({one.get(key) for one in values}) > 1]
    return swept or [key for key in keys if key in recipe_keys]


def plan_jobs(overrides_of: Sequence[Sequence[str]], swept: Sequence[str]) -> list[PlannedJob]:
    """Name the jobs of a sweep.

    Args:
        overrides_of: Each job's overrides.
        swept: Keys in which they differ.
    """
    values = [_override_values(overrides) for overrides in overrides_of]
    labels = _labels(values, swept)
    return [
        PlannedJob(number, tuple(overrides), label, _step(one))
        for number, (overrides, one, label) in enumerate(zip(overrides_of, values, labels, strict=True))
    ]


def _override_values(overrides: Sequence[str]) -> dict[str, str]:
    """Return what a job's overrides set, by key, without those of Hydra itself."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    set_by = {one.key_or_group: one.value() for one in parsed if not one.is_delete()}
    return {key: str(value) for key, value in set_by.items() if not key.startswith("hydra")}


def _step(values: dict[str, str]) -> int | None:
    return step_of(checkpoint_name(values[CHECKPOINT])) if CHECKPOINT in values else None


def _labels(values: Sequence[dict[str, str]], swept: Sequence[str]) -> list[str]:
    for parts in (1, 2):
        labels = [" ".join(_label_part(key, one[key], parts) for key in swept if key in one) for one in values]
        if len(set(labels)) == len(labels):
            break
    counts = Counter(labels)
    return [
        label if label and counts[label] == 1 else f"{label} #{number}".strip() for number, label in enumerate(labels)
    ]


def _label_part(key: str, value: str, parts: int) -> str:
    if key == CHECKPOINT:
        return checkpoint_name(value, parts)
    return value if key == "model" else f"{key.rpartition('.')[2]}={value}"


def read_outcomes(plan: SweepPlan, folder: Path) -> list[SweepJob]:
    """Return what became of a sweep's jobs; to be called when none of them runs any more.

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
        values=_metric_values(folder / "metrics.json") if record.status == FINISHED else {},
    )


def _metric_values(path: Path) -> Mapping[MetricKey, Value]:
    try:
        return values_of(json.loads(path.read_text(encoding="utf-8"))["summary"])
    except FileNotFoundError:  # a task that measures no agreement
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s): its job is listed without metrics.", path, error)
        return {}
