"""Sizes and choices of CMI-RM, from the `config.yaml` that comes with its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from cmi_bench.errors import did_you_mean
from cmi_bench.models.config_files import ConfigSection, Size, key_error, one_of, read_config_file
from cmi_bench.models.muq.config import TransformerConfig, check_sample_rate

DOWNSAMPLERS = {
    "meanpool": "mean",
    "meanpool+mlp": "mean+mlp",
    "baseline1": "mean+mlp",
    "b1": "mean+mlp",
    "baseline2simple": "conv",
    "b2s": "conv",
    "baseline2": "conv*2",
    "b2": "conv*2",
    "baseline3": "gluconv*2+pw",
    "b3": "gluconv*2+pw",
} | {name: name for name in ("none", "mean", "mean+mlp", "conv", "conv*2", "gluconv*2+pw")}
"""Names of downsamplers in configurations, in lower case, and the one name of each that is used here."""
PROMPT_MODES = ("concat_text_late", "concat_text_early", "text_only")
"""`text_only` leaves the lyrics out; the other two differ in training only."""
ATTENTION_MODES = ("SA", "CA")
SCORES = 2
"""Alignment and musicality."""
NULL_LENGTH = 10
"""Positions of a null embedding, where the configuration does not say."""


class DownsampleConfig(ConfigSection):
    """How a sequence is shortened; a kind ignores what it has no use for."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    """One of the values of `DOWNSAMPLERS`."""
    factor: Size = 1
    """Positions that become one (in each stage of `conv`)."""
    mlp_ratio: float = 2.0
    """Hidden width of the MLP over the sequence's."""
    pre_mlp: bool = False
    """The MLP comes before the mean instead of after it."""
    kernel_size: Size = 5
    """Odd, of the depthwise convolutions."""
    stage: Size = 1
    """How often `conv` applies its block."""
    use_layernorm: bool = True
    """Normalise after a depthwise convolution."""
    dropout: Any = None
    """Matters in training only."""

    @field_validator("kind")
    @classmethod
    def _one_name(cls, kind: str) -> str:
        if kind.lower() not in DOWNSAMPLERS:
            raise key_error(f"is {kind.lower()!r}.", did_you_mean(kind.lower(), DOWNSAMPLERS))
        return DOWNSAMPLERS[kind.lower()]

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise key_error(f"is {size}; expected an odd number.")
        return size


NO_DOWNSAMPLING = DownsampleConfig(kind="none")


class Downsampling(ConfigSection):
    """Which sequence is shortened how: for each the name of an entry of `configs`."""

    configs: dict[str, DownsampleConfig]
    eval_name: Annotated[str, Field(alias="eval")] = "none"
    ref_name: Annotated[str | None, Field(alias="ref")] = None
    text_name: Annotated[str, Field(alias="text")] = "none"

    @model_validator(mode="before")
    @classmethod
    def _keep_entries_in_use(cls, values: Any) -> Any:
        """Drop entries that no sequence uses: whatever they hold, it does not matter."""
        if not isinstance(values, Mapping) or not isinstance(configs := values.get("configs"), Mapping):
            return values
        used = {key: name for key in ("eval", "ref", "text") if isinstance(name := values.get(key), str)}
        for key, name in used.items():
            if name not in configs and name != "none":
                hint = did_you_mean(name, map(str, configs))
                raise key_error(f"names {name!r}, which is not under configs.", hint, key=key)
        return {**values, "configs": {name: configs[name] for name in used.values() if name in configs}}

    @property
    def eval(self) -> DownsampleConfig:
        """For the frames of the clip that is scored."""
        return self._entry(self.eval_name)

    @property
    def ref(self) -> DownsampleConfig:
        """For the frames of the reference."""
        return self._entry(self.ref_name or self.eval_name)

    @property
    def text(self) -> DownsampleConfig:
        """For the tokens of the text, and of the lyrics (with weights of their own)."""
        return self._entry(self.text_name)

    def _entry(self, name: str) -> DownsampleConfig:
        return self.configs.get(name, NO_DOWNSAMPLING)


class RewardConfig(ConfigSection):
    """CMI-RM itself: the section `model`."""

    mulan_name: Annotated[str, Field(alias="model_name")]
    """Folder or hub id of MuQ-MuLan."""
    sr: int
    """Hz."""
    prompt_mode: Annotated[str, one_of(*PROMPT_MODES), Field(alias="mode")]
    attention_mode: Annotated[str, one_of(*ATTENTION_MODES)]
    mlp_dim: Size
    output_dim: int
    dim: Size
    heads: Size
    dim_head: Size
    ff_mult: float
    prompt_tf_depth: int
    joint_tf_depth: int
    downsampling: Annotated[Downsampling, Field(alias="downsample")] = Downsampling(configs={})

    encoders: str | None = None
    """Checkpoint of CMI-RM (file, folder or hub id) whose encoders are used where the weights have none of their own;
    None for MuQ-MuLan's own. Written by training, which writes no encoders."""
    encoder_digest: str | None = None
    """Digest of the encoders that the head was trained on; None where none was written."""
    null_embedding: Any = None
    """Of each of text, lyrics and audio (the reference) `length` and `dropout` in training."""

    _check_sr = field_validator("sr")(check_sample_rate)

    @field_validator("output_dim")
    @classmethod
    def _two_scores(cls, dim: int) -> int:
        if dim != SCORES:
            raise key_error(f"is {dim}; expected {SCORES} (alignment, musicality).")
        return dim

    @property
    def prompt_transformer(self) -> TransformerConfig:
        """Sizes of the transformer over the prompt."""
        return self._transformer(self.prompt_tf_depth)

    @property
    def joint_transformer(self) -> TransformerConfig:
        """Sizes of the transformer over prompt and clip."""
        return self._transformer(self.joint_tf_depth)

    def null_length(self, name: str) -> int:
        """Return the length of a null embedding: "text", "lyrics" or "audio"."""
        try:
            return int(self.null_embedding[name]["length"])
        except (KeyError, TypeError, ValueError):  # scoring has no use for it, so that any form passes
            return NULL_LENGTH

    def without_means(self) -> "RewardConfig":
        """Return the configuration of the network behind downsampling that has no parameters."""
        configs = {
            name: NO_DOWNSAMPLING if config.kind == "mean" else config
            for name, config in self.downsampling.configs.items()
        }
        return self.model_copy(update={"downsampling": self.downsampling.model_copy(update={"configs": configs})})

    def _transformer(self, depth: int) -> TransformerConfig:
        return TransformerConfig(
            dim=self.dim, depth=depth, heads=self.heads, dim_head=self.dim_head, ff_mult=self.ff_mult
        )


class _RewardFile(ConfigSection):
    model: RewardConfig


def read_reward_config(file: Path) -> RewardConfig:
    """Read CMI-RM's `config.yaml`; a missing or wrong key is a `UserError` that names it."""
    return read_config_file(file, _RewardFile).model
