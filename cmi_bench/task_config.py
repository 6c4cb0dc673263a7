"""The keys that single tasks have besides the benchmark's, and the checks of a composed configuration.

A task with keys of its own has a class below `Config`, which its file in `conf/task/` names as schema.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple, cast

from omegaconf import MISSING, DictConfig, OmegaConf

from cmi_bench.config import Config
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.training_config import EmbedTask, TrainTask
from cmi_bench.utils.installation import command_line


@dataclass
class CacheTask(Config):
    """task=cache."""

    prune_gb: float | None = None
    """Remove embeddings, the least recently used first, until no more than this is left, in 10^9 bytes."""


@dataclass
class EvaluateTask(Config):
    """task=evaluate."""

    results: str | None = None
    """The results.jsonl to evaluate, or the folder of a run."""


@dataclass
class CompareTask(Config):
    """task=compare and task=leaderboard."""

    runs: list[str] = field(default_factory=list)
    """Run folders, results.jsonl files, sweeps' folders, patterns such as outputs/cmi_rm/*, or MLflow run ids."""


@dataclass
class ListTask(Config):
    """task=list."""

    run_folders: list[str] = field(default_factory=lambda: ["${project:outputs}", "${project:multirun_sweeps}"])
    """Where past runs are looked for."""


@dataclass
class NewModelTask(Config):
    """task=new_model."""

    name: str | None = None
    """What `model=` will be."""


@dataclass
class SourcesConfig:
    """Where task=prepare gets things; other addresses are mirrors, other names are copies."""

    name: str = MISSING
    hub: str = MISSING
    """The Hugging Face hub."""
    zenodo: str = MISSING
    rows: str = MISSING
    """Folder of all_test.jsonl and all_train.jsonl."""
    pam: str = MISSING
    """Zenodo's number of the record."""
    music_eval: str = MISSING
    """This and the following: repositories on the hub."""
    music_arena: str = MISSING
    cmi_pref: str = MISSING
    cmi_pref_pseudo: str = MISSING
    songeval: str = MISSING
    """Folder of SongEval's config.yaml and ckpt/model.safetensors."""


@dataclass
class PrepareTask(Config):
    """task=prepare."""

    sources: SourcesConfig = MISSING
    jobs: int = 8
    """Files fetched at the same time."""


class DoctorFormat(Enum):
    """The form of the report of task=doctor."""

    table = "table"
    json = "json"


@dataclass
class DoctorConfig:
    """The key `doctor` of task=doctor."""

    format: DoctorFormat = DoctorFormat.table


@dataclass
class DoctorTask(PrepareTask):
    """task=doctor: it takes what task=prepare takes, and names commands with the same words."""

    doctor: DoctorConfig = field(default_factory=DoctorConfig)


TASK_SCHEMAS: dict[str, type[Config]] = {
    "cache": CacheTask,
    "compare": CompareTask,
    "evaluate": EvaluateTask,
    "leaderboard": CompareTask,
    "list": ListTask,
    "new_model": NewModelTask,
    "prepare": PrepareTask,
    "doctor": DoctorTask,
    "embed": EmbedTask,
    "train": TrainTask,
}
"""Tasks that have keys of their own."""


def tasks_with_key(key: str) -> list[str]:
    """Return the tasks that have a key at the root which the others have not.

    >>> tasks_with_key("runs")
    ['compare', 'leaderboard']
    """
    shared = {one.name for one in fields(Config)}
    return [
        task
        for task, schema in TASK_SCHEMAS.items()
        if key in {one.name for one in fields(schema)} and key not in shared
    ]


class Range(NamedTuple):
    """The numbers that a key may have."""

    least: float
    most: float
    above: bool = False
    """Whether `least` itself is too little."""
    below: bool = False
    """Whether `most` itself is too much."""
    advice: str = ""

    def error(self, key: str, value: float) -> UserError | None:
        """Return what to say of a value outside of the range, None of one inside."""
        if math.isnan(value):
            what = "is not a number"
        elif self.above and self.below and not self.least < value < self.most:
            what = f"is not between {self.least:g} and {self.most:g}"
        elif value < self.least or (self.above and value == self.least):
            what = "is not positive" if self.above else "is negative"
        elif value > self.most or (self.below and value == self.most):
            what = "is too large"
        else:
            return None
        most = "" if math.isinf(self.most) else f", {self.most:.10g} at most"
        least = f"above {self.least:g}" if self.above else f"of {self.least:g} or more"
        return UserError(f"{key}={value} {what}.", self.advice or f"Give {key} a value {least}{most}.")


KERNELS = ("on", "off")
PROFILED = ("run_benchmark", "run_embed", "run_robustness")
"""The functions of the tasks that `profile=true` is for."""
LONGEST = 1e9
"""Seconds: longer than any clip."""
SEEDS = Range(0, 2**32 - 1)
"""What NumPy and Lightning take."""
RANGES: dict[str, Range] = {
    "max_dur": Range(0, LONGEST, above=True),
    "batch_size": Range(0, math.inf, above=True),
    "batch_seconds": Range(0, math.inf, above=True),
    "model_timeout": Range(0, LONGEST, above=True),
    "tracking.timeout": Range(0, LONGEST, above=True),
    "limit": Range(0, math.inf, above=True),
    "workers": Range(
        0, 1024, advice="Use workers=0 to decode in the main process, or some for each device, such as 4."
    ),
    "seed": SEEDS,
    "metrics.seed": SEEDS,
    "alpha": Range(0, 1, above=True, below=True, advice="Use alpha=0.05."),
    "cache.max_gb": Range(0, math.inf),
    "prune_gb": Range(0, math.inf),
    "jobs": Range(0, math.inf, above=True),
    "loss.pairs.label_smoothing": Range(0, 1, below=True, advice="Use a share from 0 to below 1, such as 0.2."),
    "loss.pairs.margin": Range(0, 100),
    "loss.pairs.centre": Range(0, 100),
    "loss.ratings.steps": Range(3, 81, advice="Use 5 for whole points, 9 for half ones."),
    "loss.aspect_weights.musicality": Range(0, 1e6),
    "loss.aspect_weights.alignment": Range(0, 1e6),
    "loss.lr": Range(0, 10),
    "splits.validation": Range(0, 1, below=True, advice="Use a share from 0 to below 1, such as 0.1."),
    "splits.seed": SEEDS,
    "optimizer.lr": Range(0, 100, above=True),
    "optimizer.weight_decay": Range(0, 100),
    "optimizer.warmup_steps": Range(0, math.inf),
    "optimizer.final_share": Range(0, 1),
    "optimizer.clip": Range(0, math.inf),
    "sampling.temperature": Range(0, math.inf, above=True),
    **dict.fromkeys(("sampling.drop_text", "sampling.drop_lyrics", "sampling.drop_ref_audio"), Range(0, 1)),
    **dict.fromkeys(
        ("train.max_steps", "train.batch_size", "train.accumulate", "train.validate_every", "train.patience"),
        Range(0, math.inf, above=True),
    ),
    **dict.fromkeys(("train.keep_every", "train.keep_last", "train.save_seconds"), Range(0, math.inf)),
    "train.ema_decay": Range(0, 1, above=True, below=True, advice="Use train.ema_decay=0.99."),
    "train.memory_gb": Range(0, math.inf),
    "seeds": Range(0, 1000, above=True),
}
"""By key, with its dots; a task that lacks the key is not asked for it."""


def see_help() -> str:
    """Return where to look for what can be written."""
    return f"`{command_line('--help')}` shows groups, keys and examples."


PLUS_GROUPS = ("experiment", "sweep", "launch")
"""Groups that are not in the defaults list, and chosen with a plus."""
GLOBAL_GROUPS = ("local", *PLUS_GROUPS)
"""Groups whose files set keys of the whole configuration: each begins with `# @package _global_`."""


def checked(cfg: DictConfig) -> Config:
    """Return a composed configuration as typed objects: a `Config`, or the class of its task.

    Raises:
        UserError: A key that no schema knows, or a value that is none of a key's.
        omegaconf.errors.OmegaConfBaseException: A mandatory value is missing, or an interpolation fails.
    """
    refuse_unknown(cfg)
    config = cast(Config, OmegaConf.to_object(cfg))
    if config.kernels not in KERNELS:
        raise UserError(f"There is no kernels={config.kernels}.", did_you_mean(config.kernels, KERNELS))
    task = config.task_function.rpartition(".")[2]
    if config.profile and task not in PROFILED:
        raise UserError("profile=true is for task=benchmark, task=embed and task=sanity.", "Leave it out.")
    for key, allowed in RANGES.items():
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name, None)
        if value is not None and (error := allowed.error(key, value)) is not None:
            raise error
    return config


def refuse_unknown(cfg: DictConfig) -> None:
    """Check that every key is in the schema of its part: Hydra adds whatever is written with a plus.

    `model` and `trainer` take further keys, which go to their constructors.

    Raises:
        UserError: A key is not; names the nearest.
    """
    _refuse_unknown_in(cfg, cfg, "")


def _refuse_unknown_in(node: DictConfig, root: DictConfig, prefix: str) -> None:
    schema = OmegaConf.get_type(node)
    if not is_dataclass(schema):
        return
    known = {one.name for one in fields(schema)}
    for key in map(str, node):
        if key not in known:
            raise unknown_setting(prefix + key, known.union(() if prefix else PLUS_GROUPS), task=root.get("task"))
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            _refuse_unknown_in(child, root, f"{prefix}{key}.")


def unknown_setting(key: str, known: Iterable[str], *, task: str | None) -> UserError:
    """Return what to say of a key that is not there.

    Args:
        key: With its dots.
        known: What is there beside it; none where that is not known.
        task: The task of the configuration; None where that is not known.
    """
    first = key.partition(".")[0]
    names = list(known)
    is_at_root = not names or "task" in names
    if is_at_root and first not in names and (tasks := tasks_with_key(first)):
        named = " and ".join(f"task={one}" for one in tasks)
        own = f", not of task={task}" if task else ""
        return UserError(f"{first!r} is a key of {named}{own}.", f"Add task={tasks[0]}.")
    return UserError(
        f"There is no setting {key!r}.", did_you_mean(key.rpartition(".")[2], names) if names else see_help()
    )
