"""The keys of `task=embed` and `task=train`: which rows are learnt from, the head, the loss, the optimiser, the loop.

The frozen part of what is trained is the benchmark's own group `model`. What the numbers mean and where they come from
is in docs/training.md.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from cmi_bench.config import Config, HeadPrecision
from cmi_bench.errors import UserError


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
    also: list[str] = field(default_factory=list)
    """Further models that embed the same rows, each file decoded once for all: names, each with its own keys where
    these differ from its configuration, such as "clap model.checkpoint=FOLDER". All are loaded at once."""


@dataclass
class EmbedTask(Config):
    """task=embed."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)


class PairLossKind(StrEnum):
    """The model of how people choose between two clips."""

    bradley_terry = "bradley_terry"
    rao_kupper = "rao_kupper"
    """With ties, of clips whose scores are nearer than a threshold."""
    davidson = "davidson"
    """With ties, most often of clips of equal score."""
    four_way = "four_way"
    """Rao and Kupper's with a ground: "both bad" is an answer of its own."""


class Ties(StrEnum):
    """What a loss that knows no ties does with one."""

    drop = "drop"
    half = "half"
    """Learn that either is preferred with probability one half."""


@dataclass
class PairLossConfig:
    """How a preference between two clips becomes a loss.

    Raises:
        UserError: An option that the kind does not have.
    """

    kind: PairLossKind | None = PairLossKind.bradley_terry
    """null learns nothing from preferences."""
    ties: Ties | None = None
    """Of bradley_terry alone, where null is drop; to the other kinds a tie is an outcome of its own."""
    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over the outcomes: of two, .2 makes targets of .9 and .1."""
    margin: float = 0.0
    """By how much the preferred clip's score has to lead before it counts as even."""
    centre: float = 0.0
    """Weight of the squared sum of a pair's scores, which keeps them near zero."""

    def __post_init__(self) -> None:
        if self.ties is not None and self.kind not in (PairLossKind.bradley_terry, None):
            raise UserError(
                f"loss.pairs.ties={self.ties} is an option of bradley_terry: to loss.pairs.kind={self.kind} a tie is an"
                " outcome of its own.",
                "Leave loss.pairs.ties out, or use loss.pairs.kind=bradley_terry.",
            )


class RatingLossKind(StrEnum):
    """How a mean opinion score becomes a loss."""

    tanh_mse = "tanh_mse"
    """Squared error of 2 tanh(a s + b) + 3, with a and b learnt."""
    ordinal = "ordinal"
    """Likelihood of the step on the scale, with the steps' thresholds learnt."""
    list_mle = "list_mle"
    """Order only, among the clips of one prompt."""


@dataclass
class RatingLossConfig:
    """How a rating of one clip becomes a loss.

    Raises:
        UserError: An option that the kind does not have.
    """

    kind: RatingLossKind | None = RatingLossKind.tanh_mse
    """null learns nothing from ratings."""
    steps: int | None = None
    """Of ordinal: how many steps the scale has; null for 5, whole points."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.kind is not RatingLossKind.ordinal:
            raise UserError(
                f"loss.ratings.steps={self.steps} is an option of ordinal, and loss.ratings.kind is"
                f" {self.kind or 'null'}.",
                "Leave loss.ratings.steps out, or use loss.ratings.kind=ordinal.",
            )


@dataclass
class AspectWeights:
    """How much each aspect counts; 0 learns nothing of it."""

    musicality: float = 1.0
    alignment: float = 1.0


@dataclass
class LossConfig:
    """The group `loss`: a mean over labels, weighted by aspect and source.

    Raises:
        UserError: Nothing to learn from, or a source's weight that is no weight.
    """

    name: str = MISSING
    pairs: PairLossConfig = field(default_factory=PairLossConfig)
    ratings: RatingLossConfig = field(default_factory=RatingLossConfig)
    aspect_weights: AspectWeights = field(default_factory=AspectWeights)
    source_weights: dict[str, float] = field(default_factory=dict)
    """By source (`+loss.source_weights.musiceval=2`); 1 where nothing is said."""
    use_confidence: bool = False
    """Weigh each preference by its annotator's confidence, or by the agreement of its raters."""
    lr: float = 0.01
    """Learning rate of what losses learn of their own: how often people call a tie, how scores become ratings."""

    def __post_init__(self) -> None:
        if self.pairs.kind is None and self.ratings.kind is None:
            raise UserError(
                "loss.pairs.kind=null and loss.ratings.kind=null leave nothing to learn from.", "Choose one of them."
            )
        if not (self.aspect_weights.musicality or self.aspect_weights.alignment):
            raise UserError("loss.aspect_weights are both 0.", "Give one of the aspects a weight.")
        for name, weight in self.source_weights.items():
            if not 0.0 < weight < math.inf:
                raise UserError(
                    f"loss.source_weights.{name}={weight} is no weight.",
                    "Give it a number above 0; sampling.sources leaves sources out.",
                )


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


@dataclass
class OptimizerConfig:
    """The group `optimizer`: AdamW and its learning rate.

    Raises:
        UserError: `betas` are not two shares.
    """

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

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"optimizer.betas={self.betas} are not two shares.", "Use [0.9,0.999].")


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
    by: list[str] = field(default_factory=lambda: ["prompt", "lyrics", "digest", "reference"])
    """What rows must not share across the split: prompt, lyrics, digest (of a clip), reference (its digest), system."""
    leave_out_systems: list[str] = field(default_factory=list)
    """Generators all of whose rows are for validation."""
    leave_out_sources: list[str] = field(default_factory=list)
    """Sources all of whose rows are for validation."""
    seed: int = 0


class OnContamination(StrEnum):
    """What a training row that is in a test set does."""

    fail = "fail"
    drop = "drop"


class Monitor(StrEnum):
    """A figure of validation."""

    loss = "loss"
    """The objective on the rows that are set aside."""
    musicality = "musicality"
    """Agreement with people (accuracy of pairs, SRCC of ratings), the mean over sources."""
    alignment = "alignment"
    mean = "mean"
    """Of both aspects' agreements."""


@dataclass
class TrainConfig:
    """The key `train`: the loop, and what is kept of it.

    Raises:
        UserError: Checkpoints would be kept at steps at which none is written.
    """

    max_steps: int = 1000
    batch_size: int = 48
    """Rows of a step, over all devices."""
    accumulate: int = 1
    """Parts that a step's rows are worked on in, one after the other, to save memory."""
    precision: HeadPrecision = HeadPrecision["32"]
    """Of the head's products; what is learnt stays in float32."""
    validate_every: int = 50
    """Steps; what is validated is written, and kept if it is the best, one of the last or one of every so many."""
    keep_every: int = 250
    """Steps; 0 keeps only the best and the last ones."""
    keep_last: int = 1
    save_seconds: float = 60.0
    """Between two states that training goes on from when it is stopped; 0 writes one after each step."""
    patience: int | None = None
    """Validations without a better one before training ends; null never ends it early."""
    monitor: Monitor = Monitor.loss
    """What tells the best checkpoint on validation."""
    ema_decay: float | None = None
    """Average the weights with this decay (such as .99); null takes them as they are."""
    memory_gb: float = 4.0
    """Embeddings that are kept in memory, in 10^9 bytes and each process that loads them."""
    on_contamination: OnContamination = OnContamination.fail
    contamination: list[str] = field(default_factory=lambda: ["audio", "clip", "reference", "prompt"])
    """By what a row is in a test set: audio (a clip's bytes), clip (its name), reference, prompt (with lyrics)."""
    with_encoders: bool = False
    """Write the frozen encoder's tensors into each checkpoint too, where the head is of the released architecture."""

    def __post_init__(self) -> None:
        if self.validate_every > 0 and self.keep_every % self.validate_every:
            raise UserError(
                f"train.keep_every={self.keep_every} is no multiple of train.validate_every={self.validate_every}:"
                " checkpoints are written when they are validated.",
                f"Use train.keep_every={max(self.keep_every // self.validate_every, 1) * self.validate_every}.",
            )


@dataclass
class TrainTask(Config):
    """task=train.

    Raises:
        UserError: A loss over the clips of a prompt, of which single rows are drawn.
    """

    recipe: str = MISSING
    head: dict[str, Any] = MISSING
    loss: LossConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seeds: int = 1
    """How many heads to train, from `seed` on; several are an ensemble."""

    def __post_init__(self) -> None:
        is_list = isinstance(self.loss, LossConfig) and self.loss.ratings.kind is RatingLossKind.list_mle
        if is_list and self.sampling.unit is not Unit.prompt:
            raise UserError(
                "loss.ratings.kind=list_mle compares the clips of a prompt, and single rows are drawn.",
                "Draw all rows of a prompt together: sampling.unit=prompt.",
            )
