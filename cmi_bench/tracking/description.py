"""What MLflow shows of a run: its name, params, tags and metrics, all taken from the configuration and `metadata.json`.

Something more in MLflow is one more line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cmi_bench.config import Config
from cmi_bench.models.hub import checkpoint_label
from cmi_bench.tracking.sweep_plan import SweepPlace


@dataclass(frozen=True)
class RunDescription:
    """What identifies a run in the MLflow UI, known before it starts."""

    name: str
    params: Mapping[str, str]
    """Few and flat: MLflow shows them as columns."""
    tags: Mapping[str, str]


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
    params = {
        "model": model["name"],
        "checkpoint": checkpoint_label(checkpoint) if checkpoint else None,
        "step": place.step if place else None,
        "dataset": dataset,
        "max_dur": config.max_dur,
        "batch_size": config.batch_size,
        "precision": config.precision.value,
        "protocol": config.metrics.protocol.value,
        "device": metadata["device"],
        "seed": config.seed,
        "limit": config.limit,
    }
    tags = {
        "model": model["name"],
        "dataset": dataset,
        "checkpoint": checkpoint,
        "checkpoint_digest": model["digest"],
        "git_commit": git["commit"],
        "git_dirty": git["dirty"],
        # MLflow's own tag, which its UI shows as the version of the source.
        "mlflow.source.git.commit": git["commit"],
    }
    return RunDescription(
        name=job_name(model["name"], place.label) if place else f"{model['name']} on {dataset}",
        params={key: str(value) for key, value in params.items() if value is not None},
        tags={key: str(value) for key, value in tags.items() if value is not None} | (place.tags if place else {}),
    )


def final_metrics(metadata: Mapping[str, Any], agreement: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a finished run.

    Args:
        metadata: As written to `metadata.json` at the end, with `counts`.
        agreement: The defined metrics of the summary, by name: "PAM/musicality/SRCC".
    """
    counts = metadata["counts"]
    return {**agreement, "n_failed": counts["failed"], "clips_scored": counts["scored"]}


def job_name(model: str, label: str) -> str:
    """Return a sweep's run by its model and what it differs in, the model once: "cmi_rm step_500"."""
    return label if label.split(" ", 1)[0] == model else f"{model} {label}"


def dataset_name(config: Config) -> str:
    """Return the rows' name, e.g. "mini" or "mini/pam"."""
    return config.data.name if config.subset.name == "all" else f"{config.data.name}/{config.subset.name}"


def model_label(spec: Mapping[str, Any]) -> str:
    """Return the name under which a model is listed: the class's for the user's own, else the configuration's."""
    path: str | None = spec.get("class_path")
    return path.rpartition(":")[2] if path else str(spec["name"])
