"""How a run appears in the MLflow UI: name, params, tags, metric names."""

from collections.abc import Mapping
from typing import Any

from cmi_bench.config import Config
from cmi_bench.tracking.mlflow_callback import RunDescription


def describe_run(config: Config, metadata: Mapping[str, Any]) -> RunDescription:
    """Choose the few params and the tags by which runs are told apart and filtered.

    Args:
        config: The run's configuration.
        metadata: As written to `metadata.json`, with the keys `model`, `device` and `git`.
    """
    model, git = metadata["model"], metadata["git"]
    dataset = config.data.name if config.subset.name == "all" else f"{config.data.name}/{config.subset.name}"
    params = {
        "model": model["name"],
        "checkpoint": config.model.get("checkpoint"),
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
        "checkpoint_digest": model["digest"],
        "git_commit": git["commit"],
        "git_dirty": git["dirty"],
        # MLflow's own tag, which its UI shows as the version of the source.
        "mlflow.source.git.commit": git["commit"],
    }
    return RunDescription(
        name=f"{model['name']} on {dataset}",
        params={key: str(value) for key, value in params.items() if value is not None},
        tags={key: str(value) for key, value in tags.items() if value is not None},
    )


def model_label(spec: Mapping[str, Any]) -> str:
    """Return the name under which a model is listed: the class's for the user's own, else the configuration's."""
    path: str | None = spec.get("class_path")
    return path.rpartition(":")[2] if path else str(spec["name"])
