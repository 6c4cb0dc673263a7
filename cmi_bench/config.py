"""The configuration's form: every key, its type and its default, checked by Hydra when it composes.

The YAML files in `conf/` choose values; an override that is not in here is refused. `Config` is the benchmark's own;
a task with further keys has a class of its own below it, which its file in `conf/task/` names as schema.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum, StrEnum
from typing import Any, NamedTuple, TypeVar, cast

from omegaconf import MISSING, DictConfig, OmegaConf

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.utils.installation import command_line


def see_help() -> str:
    """Return where to look for what can be written."""
    return f"`{command_line('--help')}` shows groups, keys and examples."


Choice = TypeVar("Choice", bound=StrEnum)

Precision = Enum("Precision", {"32": "32", "bf16": "bf16"})
# On the command line 32 is a number.
Precision._missing_ = classmethod(lambda cls, value: cls.__members__.get(str(value)))  # type: ignore[assignment, method-assign]


class OnError(Enum):
    """What a clip that cannot be scored does to the run."""

    fail = "fail"
    record = "record"


class ProtocolName(StrEnum):
    """How ties and failures count; see README, "What a table means"."""

    strict = "strict"
    paper = "paper"


class Clustering(StrEnum):
    """Which rows depend on each other: those of a prompt, of a system that made their clips, of either, or none."""

    prompt = "prompt"
    system = "system"
    both = "both"
    none = "none"


@dataclass
class ColumnsConfig:
    """Which column of a table holds what; null where its name tells, see `data.columns.SYNONYMS`."""

    song: str | None = None
    """Paths of single songs."""
    a: str | None = None
    """Of a pair's first song."""
    b: str | None = None
    """Of its second song."""
    prompt: str | None = None
    lyrics: str | None = None
    reference: str | None = None
    """Paths of reference audio."""
    rating: str | None = None
    musicality: str | None = None
    """Ratings of this aspect, where each has a column; otherwise `rating`."""
    alignment: str | None = None
    winner: str | None = None
    winner_musicality: str | None = None
    """Winners by this aspect, where each has a column; otherwise `winner`."""
    winner_alignment: str | None = None
    aspect: str | None = None
    """Which aspect a line's label is about."""
    rater: str | None = None
    system: str | None = None
    """What made a song."""
    system_a: str | None = None
    system_b: str | None = None
    group: str | None = None
    """Groups, where `group_by` names no columns."""
    split: str | None = None


@dataclass
class TableConfig:
    """A table of one's own: songs with ratings, or pairs of songs with a preference; see docs/own-data.md."""

    csv: str | None = None
    """CSV, TSV, JSON lines, a JSON list or Parquet, by its suffix."""
    root: str | None = None
    """What the songs' paths are relative to; null for the table's folder."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """Columns by what they hold, such as `song: wav`, where their names do not tell."""
    group_by: list[str] = field(default_factory=list)
    """Columns whose values are groups in the detail table and the report."""
    aspect: str | None = None
    """musicality or alignment: what labels speak of that do not say it themselves; null for musicality."""
    scale: list[float] | None = None
    """The lowest and the highest rating that there can be; null takes any number."""


@dataclass
class DataConfig(TableConfig):
    """Which rows, and where their audio is."""

    name: str = MISSING
    jsonl: str | None = MISSING
    """Rows of the benchmark's form; null for none beside those of tables."""
    root: str = MISSING
    own: dict[str, TableConfig] = field(default_factory=dict)
    """Tables of one's own, by the name of the dataset that each of them is; `csv` is one more, named `name`."""
    split: str = "test"
    synthesise: bool = False
    """Build the embedded mini benchmark at `root` when it is not there."""
    manifest: str = "${data.root}/manifest.parquet"
    """Digests, lengths and forms of the audio files."""
    with_training: bool = False
    """For task=prepare and task=doctor: the training rows and their audio as well."""
    note: str = ""
    """What has to be known where figures over these rows stand; in tables, reports and MLflow."""
    allow_outside: bool = False
    """Whether rows may name audio outside of `root`, by an absolute path or `..`; links below `root` are followed."""


@dataclass
class SubsetConfig:
    """Which of the datasets."""

    name: str = MISSING
    datasets: list[str] = MISSING


@dataclass
class MetricSettings:
    """Protocol, metrics, groups and intervals of an evaluation: the group `metrics` of the configuration.

    Raises:
        UserError: An unknown protocol or clustering, duration bins that do not rise, a negative number of
            resamples, or a confidence that is not between 0 and 1.
    """

    name: str = "default"
    """Which configuration of the group this is."""
    protocol: ProtocolName = ProtocolName.strict
    """How ties, failures and missing labels count: "strict", or "paper" with the public script."""
    split: str = "test"
    """Rows of other splits are passed over."""
    include_lcc: bool = True
    include_k_tau: bool = True
    include_systems: bool = True
    """Correlations of the systems' means as well, where the rows name the system."""
    by_month: bool = True
    """MusicArena by month of collection."""
    by_condition: bool = True
    """CMI-Pref by what the instruction consists of."""
    by_reference: bool = True
    """CMI-Pref with and without reference audio."""
    by_lyrics: bool = True
    """CMI-Pref without lyrics ("instru") and with them ("vocal")."""
    by_confidence: bool = True
    """CMI-Pref by the annotator's confidence: below, at and above 3."""
    by_column: bool = True
    """Own data by the columns that `data.group_by` names."""
    by_duration: bool = False
    """Everything by clip length; needs durations."""
    duration_bins: tuple[float, ...] = (10.0, 30.0, 60.0, 120.0, 500.0)
    """Edges in seconds; each bin holds its lower edge, the last one also its upper."""
    durations: str | None = None
    """For the tasks: JSON file of seconds by audio path; without it the audio files are asked."""
    report: bool = True
    """For the tasks: write report.html, and its plots as PNG."""
    resamples: int = 10_000
    """Bootstrap resamples, of metrics that have no interval by formula; 0 leaves all intervals and tests out."""
    confidence: float = 0.95
    """Of the intervals."""
    cluster: Clustering = Clustering.prompt
    """Which rows depend on each other: intervals over "prompt"s speak of other prompts for the same systems, over
    "system"s of other systems, over "both" of both; "none" takes each row by itself."""
    seed: int = 0
    """Of the bootstrap, and of the groups in which more than 500 clusters are left out."""

    def __post_init__(self) -> None:
        self.protocol = _choice(ProtocolName, self.protocol, "metrics.protocol", "a protocol")
        self.cluster = _choice(Clustering, self.cluster, "metrics.cluster", "a clustering")
        if self.resamples < 0:
            raise UserError(f"metrics.resamples={self.resamples} is negative.", "Use 0 for no intervals.")
        if not 0 < self.confidence < 1:
            raise UserError(
                f"metrics.confidence={self.confidence} is not between 0 and 1.", "Use 0.95 for 95 % intervals."
            )
        # Configuration files hand over a list; equality wants the tuple.
        self.duration_bins = tuple(float(edge) for edge in self.duration_bins)
        rising = all(low < high for low, high in itertools.pairwise(self.duration_bins))
        if len(self.duration_bins) < 2 or not rising or not all(map(math.isfinite, self.duration_bins)):
            raise UserError(
                f"metrics.duration_bins={list(self.duration_bins)} are not bins.",
                "Give two or more rising numbers of seconds.",
            )


def _choice(choices: type[Choice], value: str, key: str, what: str) -> Choice:
    try:
        return choices(value)
    except ValueError:
        raise UserError(f"{key}={value!r} is not {what}.", did_you_mean(str(value), choices)) from None


@dataclass
class CacheConfig:
    """What is kept from run to run."""

    name: str = MISSING
    dir: str | None = None
    """Folder of embeddings and scores; null keeps neither."""
    max_gb: float = MISSING
    """Size that the embeddings are pruned to after a run, in 10^9 bytes."""


class TrackingKind(StrEnum):
    """What records runs."""

    mlflow = "mlflow"
    wandb = "wandb"
    csv = "csv"


@dataclass
class TrackingConfig:
    """Where runs are recorded."""

    name: str = MISSING
    kind: TrackingKind = TrackingKind.mlflow
    uri: str | None = None
    """MLflow tracking store; null records nothing."""
    artifacts: str | None = None
    """Artifact location for a new experiment: a folder for SQLite, an address for a server; null leaves it to them."""
    experiment: str = "cmi-rewardbench"
    """The experiment in MLflow, the project in Weights & Biases, the first folder of CSV files."""
    folder: str | None = None
    """Where Weights & Biases keeps its files, and where CSV files are written."""
    offline: bool = False
    """Weights & Biases: write files only, which `wandb sync` sends later."""
    entity: str | None = None
    """Weights & Biases: the user or team; null takes the login's."""
    timeout: float = 60.0
    """Seconds that one answer of the store may take; then nothing more is recorded, and the run goes on."""
    audio: bool = False
    """Also write and record report_with_audio.html, which plays the worst rows where it cannot reach their files."""


@dataclass
class SweepConfig:
    """What the recipes of the `sweep` group go over."""

    name: str | None = None
    checkpoint_dir: str | None = None
    """For +sweep=checkpoints: the folder that holds them."""
    pattern: str = "*"
    """For +sweep=checkpoints: only names that match, such as step_*."""
    repo: str | None = None
    """For +sweep=revisions: a repository on the hub."""
    revisions: list[str] = field(default_factory=list)
    """For +sweep=revisions: these only; empty takes all branches and tags."""


@dataclass
class Config:
    """The keys of a benchmark run, which every task has."""

    task: str = MISSING
    """What is done: the name of a file in `conf/task/`."""
    task_function: str = MISSING
    """Where that is: the dotted name of a function of the configuration and the run's folder."""
    model: dict[str, Any] = MISSING
    data: DataConfig = MISSING
    subset: SubsetConfig = MISSING
    metrics: MetricSettings = field(default_factory=MetricSettings)
    tracking: TrackingConfig = MISSING
    cache: CacheConfig = MISSING
    # None, so that Hydra takes `+device=cpu` as well as `device=cpu`: a plus may set what has no value yet.
    device: str | None = None
    """cpu, cpu_ddp, cuda (all GPUs) or cuda:N; None takes a GPU if there is one. See `utils.distributed`."""
    trainer: dict[str, Any] = MISSING
    data_root: str = "${project:data}"
    """Folder under which the rows and the audio of `conf/data/` are; to be set once for a machine, in `conf/local/`."""
    tracking_uri: str = "sqlite:///${project:mlflow.db}"
    """Store of tracking=mlflow; to be set once for a machine."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    max_dur: float = 120.0
    """Seconds of each clip that are looked at."""
    batch_size: int = 8
    """Clips that are scored or encoded together, at most."""
    batch_seconds: float = 240.0
    """Seconds of audio that are scored or encoded together, at most."""
    resume: bool = True
    """Use the scores that an earlier run stored; false scores afresh."""
    precision: Precision = Precision["32"]
    compile: bool = False
    """Compile the network with torch.compile: for CUDA, where a long run saves more than the minute it takes."""
    kernels: str = "on"
    """on: faster CPU kernels where a model has them; off: its plain modules, which compute on CUDA in any case."""
    seed: int = 0
    on_error: OnError = OnError.fail
    limit: int | None = None
    """At most this many rows of each dataset."""
    workers: int = 2
    """Decoding processes per device."""
    model_timeout: float | None = None
    """Seconds that a model may take for a batch before the run ends with a message that names the clips; null: any."""
    intersect: bool = False
    """Compare runs, or the jobs of a sweep, over different rows on those that all of them have."""
    alpha: float = 0.05
    """Level of significance in comparisons, after Holm's correction."""


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
}
"""By key, with its dots; a task that lacks the key is not asked for it."""


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
    if first not in names and (tasks := tasks_with_key(first)):
        named = " and ".join(f"task={one}" for one in tasks)
        own = f", not of task={task}" if task else ""
        return UserError(f"{first!r} is a key of {named}{own}.", f"Add task={tasks[0]}.")
    return UserError(
        f"There is no setting {key!r}.", did_you_mean(key.rpartition(".")[2], names) if names else see_help()
    )
