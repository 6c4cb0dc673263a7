"""The keys of `task=embed` and `task=train`: which rows are learnt from, the head, the loss, the optimiser, the loop.

The frozen part of what is trained is the benchmark's own group `model`. What the numbers mean and where they come from
is in docs/training.md.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from cmi_bench.config import Config


class EmbeddingForm(StrEnum):
    """What of an embedding is kept."""

    compact = "compact"
    """After the model's pooling without parameters, in float16: what training reads."""
    full = "full"
    """As the model makes it, in float32: what scoring reads."""
    both = "both"


@dataclass
class EmbedConfig:
    """The key `embed` of task=embed."""

    form: EmbeddingForm = EmbeddingForm.compact


@dataclass
class EmbedTask(Config):
    """task=embed."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)


class PairLossKind(StrEnum):
    """The model of how people choose between two clips."""

    bradley_terry = "bradley_terry"
    rao_kupper = "rao_kupper"
    davidson = "davidson"
    four_way = "four_way"
    """Rao and Kupper's with a ground: "both bad" is an answer of its own."""


class Ties(StrEnum):
    """What a loss that knows no ties does with one."""

    drop = "drop"
    half = "half"
    """Learn that either is preferred with probability one half."""


@dataclass
class PairLossConfig:
    """How a preference between two clips becomes a loss."""

    kind: PairLossKind = PairLossKind.bradley_terry
    ties: Ties = Ties.drop
    label_smoothing: float = 0.0
    """Share of the target that the other side gets half of: .2 makes targets of .9 and .1."""
    margin: float = 0.0
    """By how much the preferred clip's score has to lead before it counts as even."""


class RatingLossKind(StrEnum):
    """How a mean opinion score becomes a loss."""

    tanh_mse = "tanh_mse"
    """Squared error of 2 tanh(a s + b) + 3, with a and b learnt."""
    ordinal = "ordinal"
    list_mle = "list_mle"
    """Order only, among the clips of one prompt."""


@dataclass
class RatingLossConfig:
    """How a rating of one clip becomes a loss."""

    kind: RatingLossKind = RatingLossKind.tanh_mse


@dataclass
class LossConfig:
    """The group `loss`: a sum over aspects and sources."""

    name: str = MISSING
    pairs: PairLossConfig = field(default_factory=PairLossConfig)
    ratings: RatingLossConfig = field(default_factory=RatingLossConfig)
    aspect_weights: dict[str, float] = field(default_factory=dict)
    """By aspect (musicality, alignment); 1 where nothing is said."""
    source_weights: dict[str, float] = field(default_factory=dict)
    """By source (cmi_pref, musiceval, ...); 1 where nothing is said."""
    use_confidence: bool = False
    """Weigh each preference by its annotator's confidence."""
    centre: float = 0.0
    """Weight of the squared mean score, which keeps scores near zero."""


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


@dataclass
class OptimizerConfig:
    """The group `optimizer`: AdamW and its learning rate."""

    name: str = MISSING
    lr: float = 1e-4
    weight_decay: float = 1e-2
    """Of matrices; gains and biases have none."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    warmup_steps: int = 0
    schedule: Schedule = Schedule.cosine
    final_share: float = 0.0
    """Share of the learning rate that is left at the last step."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for any."""


class Balance(StrEnum):
    """Which rows of a source come up equally often."""

    rows = "rows"
    systems = "systems"
    """Those of each generator together as often as those of another."""


class Unit(StrEnum):
    """What is drawn."""

    row = "row"
    prompt = "prompt"
    """All rows of one prompt together, as losses over lists want it."""


@dataclass
class SamplingConfig:
    """Which rows make a step."""

    sources: list[str] = field(default_factory=list)
    """Only these sources; empty for all."""
    temperature: float = 1.0
    """Sources are mixed in proportion to their rows to the power of 1/temperature: 1 as they are, large for equal."""
    balance: Balance = Balance.rows
    unit: Unit = Unit.row
    swap: bool = True
    """Show each pair either way round."""
    drop_text: float = 0.0
    """Probability that a row's text is replaced by a learnt embedding of "no text"; likewise the following."""
    drop_lyrics: float = 0.0
    drop_ref_audio: float = 0.0


@dataclass
class SplitsConfig:
    """Which rows are for validation; nothing of them is learnt."""

    validation: float = 0.1
    """Share of the rows of each source."""
    by: list[str] = field(default_factory=lambda: ["prompt", "lyrics", "digest"])
    """What rows must not share across the split: prompt, lyrics, digest (of their audio), system."""
    leave_out_systems: list[str] = field(default_factory=list)
    """Generators all of whose rows are for validation."""
    leave_out_sources: list[str] = field(default_factory=list)
    """Sources all of whose rows are for validation."""
    seed: int = 0


class OnContamination(StrEnum):
    """What a training row that is in a test set does."""

    fail = "fail"
    drop = "drop"


@dataclass
class TrainConfig:
    """The key `train`: the loop, and what is kept of it."""

    max_steps: int = 1000
    batch_size: int = 48
    """Rows of a step, over all devices."""
    accumulate: int = 1
    """Parts that a step's rows are worked on in, one after the other, to save memory."""
    precision: str = "32"
    """32, or bf16 for the head's products."""
    validate_every: int = 50
    """Steps."""
    keep_every: int = 250
    """Steps; 0 keeps only the best and the last ones."""
    keep_last: int = 1
    patience: int | None = None
    """Validations without a better one before training ends; null never ends it early."""
    monitor: str = "loss"
    """What is best on validation: loss, musicality, alignment or mean (agreement with people)."""
    ema_decay: float | None = None
    """Average the weights with this decay (such as .99); null takes them as they are."""
    memory_gb: float = 4.0
    """Embeddings that are kept in memory, in 10^9 bytes and each process that loads them."""
    on_contamination: OnContamination = OnContamination.fail
    with_encoders: bool = False
    """Write the frozen encoder's tensors into each checkpoint too, where the head is of the released architecture."""


@dataclass
class TrainTask(Config):
    """task=train."""

    recipe: str = MISSING
    head: dict[str, Any] = MISSING
    loss: LossConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seeds: int = 1
    """How many heads to train, from `seed` on; several are an ensemble."""
