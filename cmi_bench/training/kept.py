"""Which checkpoints of a training are kept: the best by validation, the last ones, and every so many steps."""

import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.training.history import ELSEWHERE
from cmi_bench.utils.files import json_text, write_text_atomic, writing_to

log = logging.getLogger(__name__)

CHECKPOINTS_FILE = "checkpoints.json"
"""In a training's folder: which checkpoints there are, what each came to on validation, and which is the best."""
CHECKPOINTS = "checkpoints"
"""In a training's folder."""

WriteCheckpoint = Callable[[Path, int, Mapping[str, float]], None]
"""Writes the weights as they are into a folder, whole or not at all: the folder, the step, the validation's figures."""


def checkpoint_name(step: int) -> str:
    """Return what a checkpoint's folder is called.

    >>> checkpoint_name(250)
    'step_000250'
    """
    return f"step_{step:06d}"


class KeptCheckpoint(NamedTuple):
    """A checkpoint that is there."""

    step: int
    folder: Path
    figures: Mapping[str, float]
    """What it came to on validation."""
    is_best: bool


def read_checkpoints(folder: Path) -> list[KeptCheckpoint]:
    """Return the checkpoints that a training's folder lists, by step; none where it has no list that can be read."""
    try:
        document = json.loads((folder / CHECKPOINTS_FILE).read_text(encoding="utf-8"))
        found = [
            KeptCheckpoint(
                int(one["step"]), folder / one["folder"], one["validation"], one["folder"] == document["best"]
            )
            for one in document["checkpoints"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [one for one in found if one.folder.is_dir()]


@dataclass
class KeptCheckpoints:
    """The checkpoints of a training."""

    folder: Path
    """The training's."""
    write: WriteCheckpoint
    is_lower_better: bool
    every: int
    """Steps; 0 for none but the best and the last ones."""
    last: int
    """How many of the last ones."""
    figures: dict[int, dict[str, float]] = field(default_factory=dict)
    """Of each that is there, by its step."""
    best: int | None = None
    """The step of the best."""
    best_value: float = math.nan

    def add(self, step: int, figures: Mapping[str, float], value: float) -> bool:
        """Write a checkpoint, and remove those that are not to be kept any longer.

        Args:
            step: Of the weights as they are.
            figures: What they came to on validation.
            value: What the best is chosen by; NaN is better than nothing only.

        Returns:
            Whether it is the best.

        Raises:
            RunError: The disk is full, or the folder cannot be written to; those of before are still there.
        """
        with writing_to(self.folder, instead=ELSEWHERE):
            self.write(self.path(step), step, figures)
            self.figures[step] = dict(figures)
            if self.best is None or (math.isnan(self.best_value) and not math.isnan(value)) or self._is_better(value):
                self.best, self.best_value = step, value
            old = [one for one in self.figures if not self._is_kept(one)]
            for one in old:
                del self.figures[one]
            self.write_list()
        for one in old:
            shutil.rmtree(self.path(one), ignore_errors=True)
        return self.best == step

    def describe_best(self) -> str:
        """Return where the best weights so far are, in a sentence."""
        if self.best is None:
            return "No checkpoint was written before."
        return f"The best checkpoint before is {self.path(self.best)}."

    def path(self, step: int) -> Path:
        """Return the folder of a checkpoint."""
        return self.folder / CHECKPOINTS / checkpoint_name(step)

    def _is_better(self, value: float) -> bool:
        return value < self.best_value if self.is_lower_better else value > self.best_value

    def _is_kept(self, step: int) -> bool:
        is_last = step in sorted(self.figures)[len(self.figures) - self.last :]
        return step == self.best or is_last or bool(self.every and step and step % self.every == 0)

    def state(self) -> dict[str, Any]:
        """Return what is known of the checkpoints, as plain values."""
        return {"figures": self.figures, "best": self.best, "best_value": self.best_value}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what was known at a state that the training goes on from; later checkpoints are made again."""
        self.figures = {int(step): dict(figures) for step, figures in state["figures"].items()}
        self.best, self.best_value = state["best"], state["best_value"]

    def write_list(self) -> None:
        """Write `checkpoints.json`."""
        kept = [
            {"step": step, "folder": f"{CHECKPOINTS}/{checkpoint_name(step)}", "validation": figures}
            for step, figures in sorted(self.figures.items())
        ]
        best = None if self.best is None else f"{CHECKPOINTS}/{checkpoint_name(self.best)}"
        document = {"best": best, "checkpoints": kept}
        write_text_atomic(self.folder / CHECKPOINTS_FILE, json_text(document, allow_nan=True))
