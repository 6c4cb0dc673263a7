"""Heads that differ in their seed only, as one model: an ensemble, whose score is the mean over its members.

Nothing in training says where the zero of a head's scores is: losses of pairs see differences, and those of ratings
learn an offset of their own. So members are moved to a common zero, the mean of theirs over the rows that are set
aside: the ensemble's scores stay as they are, and the spread of a clip's score is about the clip.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cmi_bench.models.heads import Head
from cmi_bench.training.checkpoints import CheckpointWriter, read_heads

ENSEMBLE = "ensemble"
"""In the folder of a training of several seeds: the ensemble's checkpoint."""


class Member(NamedTuple):
    """The best checkpoint of one seed."""

    seed: int
    checkpoint: Path
    step: int
    scores: Tensor
    """float32 [C, 2] of the clips of the rows that are set aside."""


def member_folder(folder: Path, seed: int) -> Path:
    """Return where a member is trained: a training's folder like that of a single seed."""
    return folder / f"seed_{seed}"


def member_scores(members: Sequence[Member]) -> Tensor:
    """Return what members say of the clips of the rows set aside, from a common zero: float32 [M, C, 2]."""
    scores = torch.stack([member.scores for member in members])
    return scores + _shifts(scores)[:, None]


def _shifts(scores: Tensor) -> Tensor:
    """Return by how much each member [M, C, 2] is to be moved: float32 [M, 2], in sum 0."""
    zeros = scores.double().mean(dim=1)
    return (zeros.mean(dim=0) - zeros).float()


def write_ensemble(
    folder: Path, writer: CheckpointWriter, members: Sequence[Member], figures: Mapping[str, float]
) -> int:
    """Write the ensemble of members as a checkpoint, from which one model is loaded.

    Args:
        folder: The checkpoint's; what is there is replaced.
        writer: Of the training.
        members: Two or more.
        figures: What the ensemble comes to on the rows that are set aside, by the names of curves.

    Returns:
        The step that it is known by, the last one of its members'.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    heads: list[Head] = []
    for member, shift in zip(members, _shifts(torch.stack([one.scores for one in members])), strict=True):
        (head,) = read_heads(str(member.checkpoint))
        with torch.no_grad():
            head.projection.bias.add_(shift)
        heads.append(head)
    step = max(member.step for member in members)
    writer.write(folder, heads, [member.seed for member in members], step=step, figures=figures)
    return step
