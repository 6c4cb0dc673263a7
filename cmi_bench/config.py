"""The configuration's form: every key, its type and its default, checked by Hydra when it composes.

The YAML files in `conf/` choose values; an override that is not in here is refused. `Config` is the benchmark's own;
a task with further keys has a class of its own (`task_config`), which its file in `conf/task/` names as schema.
"""

import itertools
import math
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, TypeVar

from omegaconf import MISSING

from cmi_bench.errors import UserError, did_you_mean

Choice = TypeVar("Choice", bound=StrEnum)

Precision = Enum("Precision", {"32": "32", "tf32": "tf32", "bf16": "bf16"})
HeadPrecision = Enum("HeadPrecision", {"32": "32", "bf16": "bf16"})
for _precision in (Precision, HeadPrecision):
    # On the command line 32 is a number.
    _precision._missing_ = classmethod(lambda cls, value: cls.__members__.get(str(value)))  # type: ignore[assignment, method-assign]


def no_tensor_float32(key: str) -> UserError:
    """Return the error for `key` set to tf32 where the CPU computes."""
    return UserError(f"{key}=tf32 needs a GPU; the CPU has no TensorFloat-32.", f"Use {key}=32 here.")


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
    train_jsonl: str | None = None
    """For task=train and task=embed: rows of the benchmark's form whose split is `train`; null for none."""
    train_root: str = "${data.root}"
    """What the paths in `train_jsonl` are relative to."""
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
    """Folder of embeddings and scores, or an address of fsspec such as s3://bucket/cache; null keeps neither."""
    max_gb: float = MISSING
    """Size that the embeddings are pruned to after a run, in 10^9 bytes; at an address nothing is."""


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
    """Artifact location for a new experiment: a folder or an address; null: `mlartifacts` beside an SQLite file, and
    with a server whatever that has."""
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
    ledger: str | None = "${oc.env:CMI_BENCH_LEDGER,${project:eval_budget.jsonl}}"
    """Where it is kept how often weights were scored on test sets; null or nothing keeps it nowhere."""
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
    """Of the audio encoder's products: 32, bf16, or tf32 (TensorFloat-32) on a GPU."""
    compile: bool = False
    """Compile the network with torch.compile: for CUDA, where a long run saves more than the minute it takes."""
    kernels: str = "on"
    """on: faster kernels where a model has them; off: its plain modules."""
    seed: int = 0
    on_error: OnError = OnError.fail
    limit: int | None = None
    """At most this many rows of each dataset."""
    workers: int = 2
    """Decoding processes per device; on a GPU the default is its share of the cores, 16 at most."""
    profile: bool = False
    """Write a trace of a few batches, and tables of the operators that took longest, into the run's folder."""
    model_timeout: float | None = None
    """Seconds that a model may take for a batch before the run ends with a message that names the clips; null: any."""
    intersect: bool = False
    """Compare runs, or the jobs of a sweep, over different rows on those that all of them have."""
    alpha: float = 0.05
    """Level of significance in comparisons, after Holm's correction."""
