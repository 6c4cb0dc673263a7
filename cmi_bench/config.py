"""The configuration's form: every key, its type and its default, checked by Hydra when it composes.

The YAML files in `conf/` choose values; an override that is not in here is refused.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from cmi_bench.utils.distributed import job_device

MAX_CUDA_NAMES = 16
"""`+device=cuda:0` to `cuda:15` are config names; more devices: `+device=cuda trainer.devices=[16]`."""

Precision = Enum("Precision", {"32": "32", "bf16": "bf16"})
# On the command line 32 is a number.
Precision._missing_ = classmethod(lambda cls, value: cls.__members__.get(str(value)))  # type: ignore[assignment, method-assign]


class OnError(Enum):
    """What a clip that cannot be scored does to the run."""

    fail = "fail"
    record = "record"


class Protocol(Enum):
    """How ties and failures count; see README, "What a table means"."""

    strict = "strict"
    paper = "paper"


class Cluster(Enum):
    """What the bootstrap draws: all rows of a prompt together, or rows one by one."""

    prompt = "prompt"
    none = "none"


@dataclass
class DataConfig:
    """Which rows, and where their audio is."""

    name: str = MISSING
    jsonl: str = MISSING
    root: str = MISSING
    split: str = "test"
    synthesise: bool = False
    """Build the embedded mini benchmark at `root` when it is not there."""
    manifest: str = "${data.root}/manifest.parquet"
    """Digests, lengths and forms of the audio files."""
    with_training: bool = False
    """For task=prepare and task=doctor: the training rows and their audio as well."""
    expected_rows: dict[str, int] = field(default_factory=dict)
    """Rows of each dataset in the whole benchmark, for task=doctor."""


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


class DoctorFormat(Enum):
    """How task=doctor says what it found."""

    table = "table"
    json = "json"


@dataclass
class DoctorConfig:
    """For task=doctor."""

    format: DoctorFormat = DoctorFormat.table


@dataclass
class SubsetConfig:
    """Which of the datasets."""

    name: str = MISSING
    datasets: list[str] = MISSING


@dataclass
class MetricsConfig:
    """Granularity and protocol of the evaluation."""

    name: str = MISSING
    protocol: Protocol = Protocol.strict
    by_month: bool = MISSING
    by_condition: bool = MISSING
    by_reference: bool = MISSING
    by_lyrics: bool = MISSING
    by_confidence: bool = MISSING
    by_duration: bool = MISSING
    duration_bins: list[float] = field(default_factory=lambda: [10.0, 30.0, 60.0, 120.0, 500.0])
    durations: str | None = None
    """JSON file of seconds by audio path; without it the audio files are asked."""
    report: bool = True
    """Write report.html, and its plots as PNG."""
    resamples: int = 10_000
    """Bootstrap resamples behind each interval; 0 leaves intervals out."""
    confidence: float = 0.95
    cluster: Cluster = Cluster.prompt


@dataclass
class CacheConfig:
    """What is kept from run to run."""

    name: str = MISSING
    dir: str | None = None
    """Folder of embeddings and scores; null keeps neither."""
    max_gb: float = MISSING
    """Size that the embeddings are pruned to after a run, in 10^9 bytes."""


@dataclass
class TrackingConfig:
    """Where runs are recorded."""

    name: str = MISSING
    uri: str | None = None
    """MLflow tracking store; null records nothing."""
    artifacts: str | None = None
    """Artifact location for a new experiment; null leaves it to the server."""
    experiment: str = "cmi-rewardbench"


@dataclass
class SweepConfig:
    """What the recipes of the `sweep` group go over."""

    name: str | None = None
    dir: str | None = None
    """For +sweep=checkpoints: the folder that holds them."""
    pattern: str = "*"
    """For +sweep=checkpoints: only names that match, such as step_*."""
    repo: str | None = None
    """For +sweep=revisions: a repository on the hub."""
    revisions: list[str] = field(default_factory=list)
    """For +sweep=revisions: these only; empty takes all branches and tags."""


@dataclass
class Config:
    """Everything that can be said on the command line."""

    task: str = "benchmark"
    model: dict[str, Any] = MISSING
    data: DataConfig = MISSING
    subset: SubsetConfig = MISSING
    sources: SourcesConfig = MISSING
    doctor: DoctorConfig = field(default_factory=DoctorConfig)
    metrics: MetricsConfig = MISSING
    tracking: TrackingConfig = MISSING
    cache: CacheConfig = MISSING
    trainer: dict[str, Any] = MISSING
    sweep: SweepConfig = field(default_factory=SweepConfig)
    name: str | None = None
    """For task=new_model: what `model=` will be."""
    results: str | None = None
    """For task=evaluate: the results.jsonl to evaluate."""
    runs: list[str] = field(default_factory=list)
    """For task=compare and task=leaderboard: run folders, results.jsonl files or MLflow run ids."""
    run_folders: list[str] = field(default_factory=lambda: ["${project:outputs}", "${project:multirun_sweeps}"])
    """For task=list: where past runs are looked for."""
    intersect: bool = False
    """Compare runs over different rows on those that all of them have."""
    alpha: float = 0.05
    """Level of significance, after Holm's correction."""
    max_dur: float = 120.0
    """Seconds of each clip that are looked at."""
    batch_size: int = 8
    """Clips that are scored or encoded together, at most."""
    batch_seconds: float = 240.0
    """Seconds of audio that are scored or encoded together, at most."""
    prune_gb: float | None = None
    """For task=cache: remove embeddings, the least recently used first, until no more than this is left."""
    resume: bool = True
    """Use the scores that an earlier run stored; false scores afresh."""
    precision: Precision = Precision["32"]
    compile: bool = False
    """Compile the network with torch.compile: for CUDA, where a long run saves more than the minute it takes."""
    seed: int = 0
    on_error: OnError = OnError.fail
    limit: int | None = None
    """At most this many rows of each dataset."""
    workers: int = 2
    """Decoding processes per device."""
    jobs: int = 8
    """For task=prepare: files fetched at the same time."""


def register(project: Path) -> None:
    """Tell Hydra the schema, the `cuda:N` devices, installed models and the resolvers; call before composing.

    Args:
        project: The project's folder: default outputs, data and the MLflow store are in it.
    """
    from cmi_bench.models.registry import installed_models
    from cmi_bench.sweeps.checkpoints import register_sweep_resolvers

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for index in range(MAX_CUDA_NAMES):
        trainer = {"accelerator": "gpu", "devices": [index], "strategy": "auto"}
        store.store(group="device", name=f"cuda:{index}", node={"trainer": trainer}, package="_global_")
    shipped = {path.stem for path in (project / "conf" / "model").glob("*.yaml")}
    for model in installed_models(taken=shipped):
        store.store(group="model", name=model.name, node=model.config())
    register_sweep_resolvers()
    OmegaConf.register_new_resolver("job_device", job_device, replace=True)
    OmegaConf.register_new_resolver("project", lambda path: str(project / path), replace=True)
    OmegaConf.register_new_resolver(
        "run_group", lambda task, model: model if task == "benchmark" else task, replace=True
    )
