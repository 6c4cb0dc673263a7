"""Checkpoints of a training: folders from which a model is loaded, each there as a whole or not at all.

One head of CMI-RM's own architecture is written in the public layout of CMI-RM, which `model=cmi_rm` loads; all others,
and ensembles, in that of `models.trained`. Both are `model.safetensors`, `config.yaml` and a model card, `README.md`.
"""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cmi_bench.models.base import EmbeddingModel, UnusedInput
from cmi_bench.models.checkpoint_kinds import TRAINED, kind_of_config
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.cmi_rm.checkpoint import derived_architecture, encoder_tensors, has_one_source, save_cmi_rm
from cmi_bench.models.cmi_rm.head import NULLS, JointHead, read_joint_head
from cmi_bench.models.config_files import read_config_file, read_mapping
from cmi_bench.models.heads import Head
from cmi_bench.models.hub import find_checkpoint
from cmi_bench.models.trained import TrainedConfig, TrainingOrigin, head_spec, lasting_spec, load_heads, save_trained
from cmi_bench.training.history import ELSEWHERE
from cmi_bench.training.model_card import CARD, ModelCard, render_card
from cmi_bench.types import Aspect
from cmi_bench.utils.files import write_text_atomic, writing_to


@dataclass(frozen=True)
class CheckpointWriter:
    """Writes the checkpoints of a training."""

    backbone: EmbeddingModel
    """The frozen model."""
    spec: Mapping[str, Any]
    """The group `model` of the configuration, resolved: what the backbone was built of."""
    max_dur: float
    """Seconds of each clip that are looked at."""
    card: ModelCard
    """What is said of all checkpoints."""
    run: str
    """The training's id."""
    aspects: Sequence[Aspect] = tuple(Aspect)
    """Those that there are labels of; of the others a head's scores mean nothing."""
    dropout: Mapping[UnusedInput, float] = field(default_factory=dict)
    """Of whole inputs, for the configuration of CMI-RM."""
    with_encoders: bool = False
    """Whether the frozen encoders are written too, where the layout is CMI-RM's."""

    def write(
        self, folder: Path, heads: Sequence[Head], seeds: Sequence[int], *, step: int, figures: Mapping[str, float]
    ) -> None:
        """Write a checkpoint, so that a reader of the folder above it never sees half of one.

        Args:
            folder: The checkpoint's; what is there is replaced.
            heads: One, or the members of an ensemble.
            seeds: Of each.
            step: Optimiser steps that were done.
            figures: Those of validation, by the names of their curves.

        Raises:
            RunError: The disk is full, or the folder cannot be written to; what was there before is left.
        """
        with writing_to(folder.parent, instead=ELSEWHERE):
            folder.parent.mkdir(parents=True, exist_ok=True)
            for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
            try:
                temporary.mkdir()
                self._write_into(temporary, heads, seeds, step)
                write_text_atomic(temporary / CARD, render_card(self.card, seeds=seeds, step=step, figures=figures))
                _replace(folder, temporary)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _write_into(self, folder: Path, heads: Sequence[Head], seeds: Sequence[int], step: int) -> None:
        head, *others = heads
        judges_both = set(self.aspects) == set(Aspect)
        if isinstance(head, JointHead) and isinstance(self.backbone, CmiRM) and judges_both and not others:
            self._write_cmi_rm(folder, head, self.backbone)
            return
        config = TrainedConfig(
            backbone=lasting_spec(self.spec),
            encoder_digest=self.backbone.encoder_digest,
            max_dur=self.max_dur,
            widths=head.widths._asdict(),
            aspects=list(self.aspects),
            heads=[head_spec(one) for one in heads],
            training=TrainingOrigin(run=self.run, step=step, seeds=list(seeds)),
        )
        save_trained(folder, heads, config)

    def _write_cmi_rm(self, folder: Path, head: JointHead, backbone: CmiRM) -> None:
        architecture = derived_architecture(backbone.loaded, backbone.checkpoint, backbone.encoder_digest)
        architecture["null_embedding"] = {
            name: {"dropout": self.dropout.get(part, 0.0), "length": head.nulls[part].shape[1]}
            for part, name in NULLS.items()
        }
        tensors: dict[str, Tensor] = head.checkpoint_tensors()
        if self.with_encoders or not has_one_source(backbone.loaded):
            tensors |= encoder_tensors(backbone.loaded)
            architecture.pop("encoders", None)
        save_cmi_rm(folder, architecture, tensors)


def _replace(folder: Path, new: Path) -> None:
    """Put a folder in the place of another one, which is there until the new one is whole."""
    if not folder.exists():
        new.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read_heads(checkpoint: str) -> list[Head]:
    """Return the heads of a checkpoint of either layout, as for inference, on the CPU.

    Raises:
        UserError: A file is missing or does not fit.
    """
    files = find_checkpoint(checkpoint)
    values = read_mapping(files.config)
    if kind_of_config(values) == TRAINED:
        return load_heads(files, read_config_file(files.config, TrainedConfig))
    return [read_joint_head(files)]
