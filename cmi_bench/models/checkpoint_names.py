"""What the name of a checkpoint tells: a short name for tables, and its training step."""

import re
from pathlib import Path
from typing import NamedTuple

CONFIG = "config.yaml"
"""Describes weights, in their folder."""
WEIGHTS_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(@\w[\w./-]*)?")


class HubName(NamedTuple):
    """A repository, and which state of it."""

    repo: str
    revision: str | None
    """Branch, tag or commit; None is the repository's main branch."""


def split_hub_name(name: str) -> HubName:
    """Return the parts of what is a name on the hub."""
    repo, _, revision = name.partition("@")
    return HubName(repo, revision or None)


def parse_hub_name(name: str) -> HubName | None:
    """Return what a name on the hub names; None if it cannot be one, as it is written.

    >>> parse_hub_name("HaiwenXia/CMI-RM@step_500")
    HubName(repo='HaiwenXia/CMI-RM', revision='step_500')
    >>> parse_hub_name("./runs/step_500") is None
    True
    """
    return split_hub_name(name) if _NAME.fullmatch(name) else None


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


_STEP = re.compile(r"(?i)step[s]?[-_=. ]*(\d+)(k?)(?![a-z0-9])")
_COUNTED = re.compile(r"(?i)(?:checkpoint|ckpt|iteration|iter|epoch|it|ep)[-_=. ]*(\d+)(k?)(?![a-z0-9])")
_LAST = re.compile(r"(?i)(?:^|[-_=. ])(\d+)(k?)$")


def step_of(name: str) -> int | None:
    """Return the step in a checkpoint's name; None where it tells none.

    The number after "step" counts before that after "checkpoint", "epoch" and the like, and that before a number
    that merely ends the name. Of several the last counts, and "k" is a thousand.

    >>> [step_of(name) for name in ("step_500", "epoch=3-step=1200", "checkpoint-50k", "run2_007", "cmi_rm_v2")]
    [500, 1200, 50000, 7, None]
    """
    for pattern in (_STEP, _COUNTED, _LAST):
        found = pattern.findall(name)
        if found:
            digits, thousands = found[-1]
            return int(digits) * (1000 if thousands else 1)
    return None


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts names as people do, numbers in them by their size.

    >>> sorted(["a10", "a9", "b"], key=natural_key)
    ['a9', 'a10', 'b']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def step_order(name: str) -> tuple[bool, int, tuple[tuple[int, str], ...]]:
    """Return what sorts checkpoints' names: by step, and after those the names that tell none."""
    step = step_of(name)
    return step is None, step or 0, natural_key(name)
