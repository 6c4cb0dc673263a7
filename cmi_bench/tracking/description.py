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
from cmi_bench.utils.files import content_key, without_credentials

BENCHMARK = "benchmark"
"""The name of `data` for the four test sets."""
NOTE_TAG = "mlflow.note.content"
"""What the UI shows as a run's description; Markdown."""


@dataclass(frozen=True)
class ScoredModel:
    """What a run scores with: some weights under some settings."""

    key: str
    """What identifies it: SHA-256 over the weights and the settings, wherever the weights lie."""
    name: str
    params: Mapping[str, str]
    """Step, digest and source of the weights, and the settings."""


@dataclass(frozen=True)
class RunDescription:
    """What identifies a run, known before it starts."""

    name: str
    params: Mapping[str, str]
    """Few and flat: they are shown as columns."""
    tags: Mapping[str, str]
    step: int | None = None
    """Training step of the checkpoint; None where its name tells none."""
    group: str = ""
    """The sweep's name; empty outside of one."""
    model: ScoredModel | None = None
    """None for the run above a sweep's jobs."""


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
        **origin_tags(git["commit"]),
    }
    return RunDescription(
        name=run_name(model["name"], place.label if place else label, dataset),
        params={key: str(value) for key, value in params.items() if value is not None},
        tags={key: str(value) for key, value in tags.items() if value is not None} | (place.tags if place else {}),
        step=step,
        group=place.sweep if place else "",
        model=describe_model(config.model, metadata["model"]),
    )


FILES = frozenset({"checkpoint", "config", "tokenizer", "muq"})
"""Settings of models that name files: where a model has a digest, it is over what is in them."""
NO_SETTINGS = frozenset({"name", "_target_", "class_path", "max_spend"})
"""Keys of models that no score depends on, or that the class says already."""


def describe_model(spec: Mapping[str, Any], facts: Mapping[str, Any]) -> ScoredModel:
    """Return what identifies the weights and settings that a run scores with.

    The same weights are the same model wherever they lie, and after the code has changed. A model that has no digest
    is known by the names of its files and by its code.

    Args:
        spec: The composed `model` group.
        facts: `model` of the run's metadata.
    """
    settings = {key: value for key, value in _flat(spec).items() if key not in NO_SETTINGS}
    digest, checkpoint = facts["digest"], spec.get("checkpoint")
    if digest:
        key = content_key(
            model=facts["class"],
            weights=digest,
            settings={name: value for name, value in settings.items() if name not in FILES},
        )
    else:
        key = content_key(model=facts["class"], code=facts["code"], settings=settings)
    label = checkpoint_label(checkpoint) if checkpoint else ""
    params = {
        "model": facts["name"],
        "checkpoint": label,
        "step": step_of(checkpoint_name(checkpoint)) if checkpoint else None,
        "digest": digest,
        "source": _source(checkpoint) if checkpoint else facts["class"],
        **{name: value for name, value in settings.items() if name != "checkpoint"},
    }
    kept = {name: str(value) for name, value in params.items() if value not in (None, "")}
    return ScoredModel(key, run_name(facts["name"], label), kept)


def _flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the single values of a mapping by their dotted keys; what is null or a list is left out."""
    flat: dict[str, Any] = {}
    for key, value in spec.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, str | int | float):
            flat[f"{prefix}{key}"] = value
    return flat


def _source(checkpoint: str) -> str:
    path = Path(checkpoint).expanduser()
    return str(path.resolve()) if path.exists() else without_credentials(checkpoint)


def origin_tags(commit: str | None) -> dict[str, str | None]:
    """Return MLflow's own tags for a run's user, source and version, which its UI shows; None where not known."""
    return {
        "mlflow.user": _user(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
    }


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
