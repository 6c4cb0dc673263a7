"""What identifies a run where it is recorded: its name, its params and its tags."""

import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmi_bench.config import Config
from cmi_bench.models.checkpoint_names import checkpoint_label, checkpoint_name, step_of
from cmi_bench.tracking.sweep_plan import SweepPlace

BENCHMARK = "benchmark"
"""The name of `data` for the four test sets."""
NOTE_TAG = "mlflow.note.content"
"""What the UI shows as a run's description; Markdown."""


@dataclass(frozen=True)
class RunDescription:
    """What identifies a run, known before it starts."""

    name: str
    params: Mapping[str, str]
    """Few and flat: they are shown as columns."""
    tags: Mapping[str, str]
    step: int | None = None
    """Training step of the checkpoint; None where its name tells none."""


def describe_run(config: Config, metadata: Mapping[str, Any], place: SweepPlace | None = None) -> RunDescription:
    """Return the few params and the tags by which runs are told apart and filtered.

    Args:
        config: The run's configuration.
        metadata: As written to `metadata.json`, with the keys `model`, `device` and `git`.
        place: Where the run stands in a sweep; None outside of one.
    """
    model, git = metadata["model"], metadata["git"]
    dataset = dataset_name(config)
    checkpoint = config.model.get("checkpoint")
    label = checkpoint_label(checkpoint) if checkpoint else ""
    step = step_of(checkpoint_name(checkpoint)) if checkpoint else None
    params = {
        "model": model["name"],
        "checkpoint": label or None,
        "step": step,
        "dataset": dataset,
        "limit": "all" if config.limit is None else config.limit,
        "max_dur": config.max_dur,
        "batch_size": config.batch_size,
        "precision": config.precision.value,
        "protocol": config.metrics.protocol.value,
        "cluster": config.metrics.cluster.value,
        "device": metadata["device"],
        "seed": config.seed,
    }
    tags = {
        "model": model["name"],
        "dataset": dataset,
        "checkpoint": checkpoint,
        "checkpoint_digest": model["digest"],
        "git_commit": git["commit"],
        "git_dirty": git["dirty"],
        NOTE_TAG: config.data.note or None,
        # MLflow's own tags, which its UI shows as the run's user, source and version.
        "mlflow.user": _user(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git["commit"],
    }
    return RunDescription(
        name=run_name(model["name"], place.label if place else label, dataset),
        params={key: str(value) for key, value in params.items() if value is not None},
        tags={key: str(value) for key, value in tags.items() if value is not None} | (place.tags if place else {}),
        step=step,
    )


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return None


def run_name(model: str, label: str, dataset: str | None = None) -> str:
    """Return what a run is called, the model once.

    >>> run_name("cmi_rm", "step_500", "cmi_pref")
    'cmi_rm step_500 on cmi_pref'

    Args:
        model: The model's name.
        label: What tells the run from others of the model: its checkpoint, or by what a sweep's job differs; may be "".
        dataset: The rows' name; None where that is not known.
    """
    name = label if label.split(" ", 1)[0] == model else f"{model} {label}".strip()
    return f"{name} on {dataset}" if dataset else name


def dataset_name(config: Config) -> str:
    """Return the rows' name: "benchmark", "cmi_pref" (a part of it), "mini", "mini/pam"."""
    if config.subset.name == "all":
        return config.data.name
    return config.subset.name if config.data.name == BENCHMARK else f"{config.data.name}/{config.subset.name}"


def model_label(spec: Mapping[str, Any]) -> str:
    """Return the name under which a model is listed: the class's for the user's own, else the configuration's."""
    path: str | None = spec.get("class_path")
    return path.rpartition(":")[2] if path else str(spec["name"])
