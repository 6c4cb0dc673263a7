"""What records a training: the `TrainingTracker` that the loop talks to, and what it is told when the training starts.

As with runs of the benchmark a tracker is a sink: files are written first, and whatever goes wrong in it is a warning.
Checkpoints are recorded as the models that later runs of the benchmark find by their weights and settings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from cmi_bench.tracking.description import (
    NOTE_TAG,
    RunDescription,
    ScoredModel,
    dataset_name,
    origin_tags,
    run_name,
)
from cmi_bench.tracking.scored_data import ScoredDataset
from cmi_bench.tracking.sweep_plan import PARENT_TAG, SweepPlace
from cmi_bench.training_config import TrainTask

LEARNT, SET_ASIDE, CHECKED = "train", "validation", "test"
"""Contexts of a training's datasets: learnt from, validated on, and only checked that nothing of them is learnt."""


@dataclass(frozen=True)
class TrainingDescription:
    """What identifies a training, known before it starts."""

    run: RunDescription
    """Name, params and tags; its group is the sweep's, or that of trainings which differ in their seed only."""
    describe_checkpoint: Callable[[Path], ScoredModel]
    """Returns the weights and settings that a run of the benchmark with a checkpoint's folder scores with."""
    datasets: Mapping[str, Sequence[ScoredDataset]] = field(default_factory=dict)
    """By context."""
    source: str = ""
    """The file that the rows are from."""
    seeds: int = 1
    """How many trainings it stands for; several differ in their seed only, and each is a `member`."""

    def of_seed(self, seed: int, parent_run: str | None) -> "TrainingDescription":
        """Return what identifies one of several trainings.

        Args:
            seed: Of this one.
            parent_run: The MLflow run above them; None where there is none.
        """
        above = {PARENT_TAG: parent_run} if parent_run else {}
        run = replace(
            self.run,
            name=f"{self.run.name} seed {seed}",
            params={**self.run.params, "seed": str(seed)},
            tags={**self.run.tags, **above, "seed": str(seed)},
            group=self.run.group or self.run.name,
        )
        return replace(self, run=run, seeds=1)


def describe_training(
    config: TrainTask, metadata: Mapping[str, Any], place: SweepPlace | None = None
) -> RunDescription:
    """Return the few params and the tags by which trainings are told apart and filtered.

    Args:
        config: The training's configuration.
        metadata: As written to `metadata.json`, with the keys `model`, `device` and `git`.
        place: Where the training stands in a sweep; None outside of one.
    """
    model, git, dataset = metadata["model"], metadata["git"], dataset_name(config)
    head = str(config.head["name"])
    params = {
        "model": model["name"],
        "checkpoint": config.model.get("checkpoint"),
        "head": head,
        "recipe": config.recipe,
        "loss": config.loss.name,
        "dataset": dataset,
        "lr": config.optimizer.lr,
        "weight_decay": config.optimizer.weight_decay,
        "max_steps": config.train.max_steps,
        "batch_size": config.train.batch_size,
        "monitor": config.train.monitor,
        "max_dur": config.max_dur,
        "precision": config.train.precision.value,
        "device": metadata["device"],
        "seed": config.seed,
    }
    tags = {
        "task": "train",
        "model": model["name"],
        "head": head,
        "recipe": config.recipe,
        "dataset": dataset,
        "git_commit": git["commit"],
        "git_dirty": git["dirty"],
        NOTE_TAG: config.data.note or None,
        **origin_tags(git["commit"]),
    }
    return RunDescription(
        name=run_name(f"training {model['name']} {head}", place.label if place else "", dataset),
        params={key: str(value) for key, value in params.items() if value is not None},
        tags={key: str(value) for key, value in tags.items() if value is not None} | (place.tags if place else {}),
        group=place.sweep if place else "",
    )


class TrainingTracker(Protocol):
    """Records a training somewhere.

    The calls come from rank 0 only, in this order: `start`, `curves` and `checkpoint` as training goes on, `close`. No
    call raises anything, nor takes long: what fails is a warning.

    A training that is resumed goes on in the record that its folder names. The steps since its last checkpoint are
    computed and told once more, and are recorded once.
    """

    def start(self) -> None:
        """Open the record, or the one of before the training was resumed; does nothing where it is open."""

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Record points of curves.

        Args:
            step: The optimiser's steps so far.
            values: By name with its section: "train/loss", "validation/CMI-Pref musicality ACC". Those that are no
                numbers (NaN, infinite) are recorded as such where the store has a way to.
        """

    def checkpoint(self, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        """Record a checkpoint that is kept.

        Args:
            step: The optimiser's steps so far.
            folder: Its weights, configuration and card, written already.
            metrics: How good it is on validation, named as in `curves`.
        """

    def member(self, seed: int, folder: Path) -> "TrainingTracker":
        """Return what records one of several trainings that differ in their seed; not started yet.

        Args:
            seed: Of this one.
            folder: Its own.
        """

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """End the record, if it was started.

        Args:
            status: "FINISHED", "FAILED" or "KILLED".
            files: Files and folders of the training's folder that are worth keeping.
        """
