"""Which model loads a checkpoint, told by its `config.yaml`; nothing of the model is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.errors import UserError
from cmi_bench.models.checkpoint_names import CONFIG, WEIGHTS_SUFFIXES
from cmi_bench.models.registry import SHIPPED, target_of
from cmi_bench.utils.documents import read_document


class CheckpointKind(NamedTuple):
    """A form of checkpoints that training writes."""

    model: str
    """What `model=` loads it."""
    target: str
    """The class of that model."""
    title: str
    """What it is, for messages."""


CMI_RM = CheckpointKind("cmi_rm", "cmi_bench.models.cmi_rm.CmiRM", "CMI-RM")
TRAINED = CheckpointKind("trained", "cmi_bench.models.trained.TrainedModel", "heads over a frozen model")


def kind_of_config(values: Mapping[str, Any]) -> CheckpointKind | None:
    """Return the kind of checkpoint that a `config.yaml` describes; None if it is of neither."""
    if {"backbone", "heads"} <= values.keys():
        return TRAINED
    model = values.get("model")
    return CMI_RM if isinstance(model, Mapping) and {"model_name", "joint_tf_depth"} <= model.keys() else None


def kind_of_checkpoint(checkpoint: str) -> CheckpointKind | None:
    """Return the kind of a checkpoint on this machine: a folder, or a file in one; None where nothing tells.

    Raises:
        UserError: Its `config.yaml` cannot be read.
    """
    path = Path(checkpoint).expanduser()
    folder = path.parent if path.suffix in WEIGHTS_SUFFIXES else path
    config = folder / CONFIG
    values = read_document(config) if config.is_file() else None
    return kind_of_config(values) if isinstance(values, Mapping) else None


def check_kind(values: Mapping[str, Any], kind: CheckpointKind, file: Path) -> None:
    """Check that a `config.yaml` is of the kind of checkpoint that a model loads.

    Raises:
        UserError: It is of the other kind; says which model loads it.
    """
    found = kind_of_config(values)
    if found is not None and found != kind:
        raise _other_kind(str(file.parent), found)


def check_fits(spec: Mapping[str, Any]) -> None:
    """Check that a shipped model's checkpoint is not one that another model loads, as far as this machine knows.

    Args:
        spec: The composed `model` group.

    Raises:
        UserError: It is; says which model loads it.
    """
    target = target_of(spec)
    found = kind_of_checkpoint(str(spec["checkpoint"])) if target.startswith(SHIPPED) else None
    if found is not None and found.target != target and target in (TRAINED.target, CMI_RM.target):
        raise _other_kind(str(spec["checkpoint"]), found)


def _other_kind(checkpoint: str, found: CheckpointKind) -> UserError:
    return UserError(
        f"{checkpoint} is a checkpoint of {found.title}.", f"Use model={found.model}, or leave the model out."
    )
