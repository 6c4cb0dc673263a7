"""What a checkpoint is called in tables."""

from pathlib import Path

from cmi_bench.models.hub_name import parse_hub_name

WEIGHTS_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
IN_A_FOLDER = ("model", "pytorch_model", "pytorch_model.fsdp")
"""Stems of weights whose folder has the telling name."""


def checkpoint_label(checkpoint: str) -> str:
    """Return a hub id as it is, and a path by its telling part."""
    is_path = Path(checkpoint).exists() or parse_hub_name(checkpoint) is None
    return checkpoint_name(checkpoint) if is_path else checkpoint


def checkpoint_name(checkpoint: str, parts: int = 1) -> str:
    """Return the telling part of what `model.checkpoint` names: a revision, or the last names of a path.

    Args:
        checkpoint: A file, a folder, or a hub id with or without a revision.
        parts: How many of a path's last names.

    >>> [checkpoint_name(name) for name in ("runs/step_500/model.safetensors", "runs/e=1.ckpt", "Some/Model@v2", "a/b")]
    ['step_500', 'e=1', 'v2', 'b']
    """
    hub = parse_hub_name(checkpoint)
    if hub is not None and hub.revision and not Path(checkpoint).exists():
        return hub.revision
    path = Path(checkpoint)
    if path.suffix in WEIGHTS_SUFFIXES:
        path = path.parent if path.stem in IN_A_FOLDER and path.parent.name else path.with_suffix("")
    return "/".join(path.parts[-parts:])
