"""How a run appears in the MLflow UI: name, params, tags, metric names."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cmi_bench.config import Config
from cmi_bench.models.checkpoint_name import checkpoint_label
from cmi_bench.tracking.mlflow_run import RunDescription

PARENT_TAG, JOB_TAG = "mlflow.parentRunId", "sweep_job"
"""MLflow's own tag, by which its UI puts a run under another; and the job's number."""


class SweepPlace(NamedTuple):
    """A run's place in a sweep."""

    label: str
    """By what it differs from the sweep's other runs."""
    step: int | None
    """Training step of its checkpoint."""
    number: int
    parent_run: str | None
    """MLflow run of the sweep."""

    @property
    def tags(self) -> dict[str, str]:
        """What puts the run under the sweep's."""
        return {PARENT_TAG: self.parent_run, JOB_TAG: str(self.number)} if self.parent_run else {}


def describe_run(config: Config, metadata: Mapping[str, Any], place: SweepPlace | None = None) -> RunDescription:
    """Choose the few params and the tags by which runs are told apart and filtered.

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
