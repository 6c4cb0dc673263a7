"""The jobs of a sweep, known before any starts: `sweep.json` in the sweep's folder."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from cmi_bench.models.checkpoint_name import checkpoint_name
from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.sweeps.steps import step_of

PLAN_FILE = "sweep.json"
CHECKPOINT = "model.checkpoint"


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep."""

    number: int
    """Its folder's name in the sweep's, from 0."""
    overrides: tuple[str, ...]
    """As Hydra gets them."""
    label: str
    """By what it differs from the others; no two jobs have the same."""
    step: int | None
    """The training step that its checkpoint's name tells."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep's jobs and where they are recorded."""

    name: str
    swept: tuple[str, ...]
    """Keys in which the jobs differ."""
    jobs: tuple[PlannedJob, ...]
    mlflow_run: str | None
    """The parent run; None if nothing is recorded."""


def swept_keys(overrides_of: Sequence[Sequence[str]], recipe_keys: Sequence[str]) -> list[str]:
    """Return the keys in which jobs differ; of a single job, those of the recipe."""
    values = [_values(overrides) for overrides in overrides_of]
    keys = dict.fromkeys(key for one in values for key in one)
    swept = [key for key in keys if len({one.get(key) for one in values}) > 1]
    return swept or [key for key in keys if key in recipe_keys]


def plan_jobs(overrides_of: Sequence[Sequence[str]], swept: Sequence[str]) -> list[PlannedJob]:
    """Name the jobs of a sweep.

    Args:
        overrides_of: Each job's overrides.
        swept: Keys in which they differ.
    """
    values = [_values(overrides) for overrides in overrides_of]
    labels = _labels(values, swept)
    return [
        PlannedJob(number, tuple(overrides), label, _step(one))
        for number, (overrides, one, label) in enumerate(zip(overrides_of, values, labels, strict=True))
    ]


def write_plan(plan: SweepPlan, folder: Path) -> None:
    """Write the plan for the jobs, and for the same sweep started again."""
    write_text_atomic(folder / PLAN_FILE, json.dumps(asdict(plan), indent=2, ensure_ascii=False) + "\n")


def read_plan(folder: Path) -> SweepPlan | None:
    """Return the plan of a sweep's folder; None if there is none, or none that can be read."""
    try:
        found = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
        jobs = (PlannedJob(**job | {"overrides": tuple(job["overrides"])}) for job in found["jobs"])
        return SweepPlan(str(found["name"]), tuple(found["swept"]), tuple(jobs), found["mlflow_run"])
    except (OSError, ValueError, KeyError, TypeError):  # written by something else, or half of it
        return None


def _values(overrides: Sequence[str]) -> dict[str, str]:
    """Return what a job's overrides set, by key, without those of Hydra itself."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    set_by = {one.key_or_group: one.value() for one in parsed if not one.is_delete()}
    return {key: str(value) for key, value in set_by.items() if not key.startswith("hydra")}


def _step(values: dict[str, str]) -> int | None:
    return step_of(checkpoint_name(values[CHECKPOINT])) if CHECKPOINT in values else None


def _labels(values: Sequence[dict[str, str]], swept: Sequence[str]) -> list[str]:
    for parts in (1, 2):
        labels = [" ".join(_say(key, one[key], parts) for key in swept if key in one) for one in values]
        if len(set(labels)) == len(labels):
            break
    counts = Counter(labels)
    return [
        label if label and counts[label] == 1 else f"{label} #{number}".strip() for number, label in enumerate(labels)
    ]


def _say(key: str, value: str, parts: int) -> str:
    if key == CHECKPOINT:
        return checkpoint_name(value, parts)
    return value if key == "model" else f"{key.rpartition('.')[2]}={value}"
