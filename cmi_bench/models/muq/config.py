"""Sizes and choices of CMI-RM and of the two encoders under it, from the files that come with the weights.

Configuration files read key by key, with errors that name the file and the key.

Which sequence is shortened how: the `downsample` section of CMI-RM's `config.yaml`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.muq.mel import SAMPLE_RATE

T = TypeVar("T", int, float, str, bool)

REQUIRED: Any = object()
"""Marks a key without a default."""


@dataclass(frozen=True)
class Section:
    """A mapping in a configuration file, and where it is."""

    file: Path
    name: str
    """Dotted name inside the file; empty for the whole file."""
    values: Mapping[str, Any]

    def get(self, key: str, kind: type[T], default: T = REQUIRED) -> T:
        """Return a value of the kind asked for (an integer passes as a float); null is as good as absent.

        Raises:
            UserError: The key is absent and has no default, or holds something else.
        """
        value = self.optional(key, kind)
        if value is not None:
            return value
        if default is REQUIRED:
            raise self._missing(key)
        return default

    def optional(self, key: str, kind: type[T]) -> T | None:
        """Return a value of the kind asked for, or None where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"is {value!r}; expected {_KINDS[kind]}.")
        return kind(value)

    def size(self, key: str, default: int = REQUIRED) -> int:
        """Return a whole number of at least 1."""
        value = self.get(key, int, default)
        if value < 1:
            raise self.error(key, f"is {value}; expected at least 1.")
        return value

    def choice(self, key: str, known: Sequence[str], *, fold_case: bool = False) -> str:
        """Return a string that is one of `known`, in lower case with `fold_case`."""
        value = self.get(key, str)
        value = value.lower() if fold_case else value
        if value not in known:
            raise self.error(key, f"is {value!r}.", did_you_mean(value, known))
        return value

    def section(self, key: str) -> "Section":
        """Return the mapping under a key.

        Raises:
            UserError: The key is absent or holds no mapping.
        """
        value = self.values.get(key)
        if value is None:
            raise self._missing(key)
        if not isinstance(value, Mapping):
            raise self.error(key, f"is {value!r}; expected a mapping.")
        return Section(self.file, self._full(key), value)

    def only(self, known: Sequence[str]) -> None:
        """Refuse keys that are not in `known`."""
        for key in self.values:
            if key not in known:
                raise self.error(key, "is not a known key.", did_you_mean(str(key), known))

    def error(self, key: str, what: str, hint: str = "") -> UserError:
        """Return the error that says what is wrong with a key."""
        return UserError(f"{self.file}: {self._full(key)} {what}", hint)

    def _missing(self, key: str) -> UserError:
        return UserError(f"{self.file} has no key {self._full(key)}.", did_you_mean(key, map(str, self.values)))

    def _full(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else str(key)


_KINDS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def read_config(file: Path) -> Section:
    """Read a JSON (`.json`) or YAML file that holds a mapping.

    Raises:
        UserError: The file cannot be read, is malformed, or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
        # YAML 1.1 reads JSON's 1e-05 as a string, so each format has its own reader.
        values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise UserError(f"Cannot read {file}: {error}", "Get the file again, or point to another.") from error
    if not isinstance(values, Mapping):
        raise UserError(f"{file} holds no mapping of keys to values.", "Is it the model's own configuration?")
    return Section(file, "", values)


KINDS = {
    "none": "none",
    "mean": "mean",
    "meanpool": "mean",
    "meanpool+mlp": "mean_mlp",
    "mean+mlp": "mean_mlp",
    "baseline1": "mean_mlp",
    "b1": "mean_mlp",
    "conv": "conv",
    "baseline2simple": "conv",
    "b2s": "conv",
    "conv*2": "two_conv",
    "baseline2": "two_conv",
    "b2": "two_conv",
    "gluconv*2+pw": "two_glu_conv",
    "baseline3": "two_glu_conv",
    "b3": "two_glu_conv",
}
"""What the checkpoints' configurations call a downsampler, and what it is called here."""

KEYS = ("kind", "factor", "mlp_ratio", "pre_mlp", "kernel_size", "stage", "use_layernorm", "dropout")
"""`dropout` matters in training only."""


@dataclass(frozen=True)
class DownsampleConfig:
    """How a sequence is shortened; a kind ignores what it has no use for."""

    kind: str = "none"
    """One of the values of `KINDS`."""
    factor: int = 1
    """Positions that become one (in each stage of `conv`)."""
    mlp_ratio: float = 2.0
    """Hidden width of the MLP over the sequence's."""
    pre_mlp: bool = False
    """The MLP comes before the mean instead of after it."""
    kernel_size: int = 5
    """Odd, of the depthwise convolutions."""
    stage: int = 1
    """How often `conv` applies its block."""
    use_layernorm: bool = True
    """Normalise after a depthwise convolution."""


@dataclass(frozen=True)
class Downsampling:
    """The choice for each of the sequences."""

    eval: DownsampleConfig
    """Frames of the clip that is judged."""
    ref: DownsampleConfig
    """Frames of the reference."""
    text: DownsampleConfig
    """Tokens of the text, and of the lyrics (with weights of their own)."""


def read_downsampling(model: Section) -> Downsampling:
    """Read the choices; without the section nothing is shortened.

    Raises:
        UserError: A name that is not under `configs`, an unknown kind or key; the message names it.
    """
    if model.values.get("downsample") is None:
        return Downsampling(DownsampleConfig(), DownsampleConfig(), DownsampleConfig())
    chosen = model.section("downsample")
    eval_name = chosen.get("eval", str, "none")
    return Downsampling(
        eval=_named(chosen, "eval", eval_name),
        ref=_named(chosen, "ref", chosen.get("ref", str, eval_name)),
        text=_named(chosen, "text", chosen.get("text", str, "none")),
    )


def _named(chosen: Section, key: str, name: str) -> DownsampleConfig:
    configs = chosen.section("configs")
    if name == "none" and name not in configs.values:
        return DownsampleConfig()
    if name not in configs.values:
        raise chosen.error(key, f"names {name!r}, which is not under configs.", did_you_mean(name, configs.values))
    entry = configs.section(name)
    entry.only(KEYS)
    kernel_size = entry.size("kernel_size", 5)
    if kernel_size % 2 == 0:
        raise entry.error("kernel_size", f"is {kernel_size}; expected an odd number.")
    return DownsampleConfig(
        kind=KINDS[entry.choice("kind", tuple(KINDS), fold_case=True)],
        factor=entry.size("factor", 1),
        mlp_ratio=entry.get("mlp_ratio", float, 2.0),
        pre_mlp=entry.get("pre_mlp", bool, False),
        kernel_size=kernel_size,
        stage=entry.size("stage", 1),
        use_layernorm=entry.get("use_layernorm", bool, True),
    )


PROMPT_MODES = ("concat_text_late", "concat_text_early", "text_only")
"""`text_only` leaves the lyrics out; the other two differ in training only."""
ATTENTION_MODES = ("SA", "CA")
TIME_STRIDES = {25: (2, 2), 50: (2, 1)}
"""Strides in time of the two convolution blocks, by frames per second."""


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a stack of transformer blocks."""

    dim: int
    depth: int
    heads: int
    dim_head: int
    ff_mult: float


@dataclass(frozen=True)
class RewardConfig:
    """CMI-RM itself: `config.yaml`."""

    file: Path
    mulan_name: str
    """Folder or hub id of MuQ-MuLan."""
    sr: int
    prompt_mode: str
    attention_mode: str
    mlp_dim: int
    output_dim: int
    prompt_transformer: TransformerConfig
    joint_transformer: TransformerConfig
    downsampling: Downsampling


@dataclass(frozen=True)
class MulanConfig:
    """MuQ-MuLan: `config.json`."""

    file: Path
    muq_name: str
    """Folder or hub id of MuQ."""
    muq_dim: int
    xlmr_name: str
    """Folder or hub id of XLM-RoBERTa, for its configuration and tokenizer."""
    xlmr_dim: int | None
    """Width of the text encoder where it differs from the transformer's; else None."""
    audio_transformer: TransformerConfig
    text_transformer: TransformerConfig
    max_seq_len: int
    """Tokens kept of a text."""


@dataclass(frozen=True)
class MuqConfig:
    """MuQ: `config.json`."""

    hop_length: int
    n_mels: int
    mel_mean: float
    mel_std: float
    time_strides: tuple[int, int]
    conv_dim: int
    encoder_dim: int
    encoder_depth: int
    heads: int
    ffn_dim: int
    conv_kernel: int
    layer_norm_eps: float


def read_reward_config(file: Path) -> RewardConfig:
    """Read CMI-RM's `config.yaml`.

    Raises:
        UserError: The file, or a key in it, is missing or not understood; the message names it.
    """
    model = read_config(file).section("model")
    if model.get("sr", int) != SAMPLE_RATE:
        raise model.error("sr", f"is {model.values['sr']}; MuQ hears {SAMPLE_RATE} Hz.")
    if model.get("output_dim", int) != 2:
        raise model.error("output_dim", f"is {model.values['output_dim']}; expected 2 (alignment, musicality).")
    return RewardConfig(
        file=file,
        mulan_name=model.get("model_name", str),
        sr=model.get("sr", int),
        prompt_mode=model.choice("mode", PROMPT_MODES),
        attention_mode=model.choice("attention_mode", ATTENTION_MODES),
        mlp_dim=model.size("mlp_dim"),
        output_dim=model.get("output_dim", int),
        prompt_transformer=_transformer(model, "prompt_tf_depth"),
        joint_transformer=_transformer(model, "joint_tf_depth"),
        downsampling=read_downsampling(model),
    )


def read_mulan_config(file: Path) -> MulanConfig:
    """Read MuQ-MuLan's `config.json`; see `read_reward_config` for errors."""
    config = read_config(file)
    audio, text = config.section("audio_model"), config.section("text_model")
    text_transformer = config.section("text_transformer")
    if config.section("mulan").get("sr", int) != SAMPLE_RATE:
        raise config.error("mulan.sr", f"is not {SAMPLE_RATE}, the rate MuQ hears.")
    return MulanConfig(
        file=file,
        muq_name=audio.get("name", str),
        muq_dim=audio.size("model_dim"),
        xlmr_name=text.get("name", str),
        xlmr_dim=text.optional("model_dim", int),
        audio_transformer=_transformer(config.section("audio_transformer"), "tf_depth"),
        text_transformer=_transformer(text_transformer, "tf_depth"),
        max_seq_len=text_transformer.size("max_seq_len"),
    )


def read_muq_config(file: Path) -> MuqConfig:
    """Read MuQ's `config.json`; see `read_reward_config` for errors."""
    config = read_config(file)
    stat, conformer = config.section("stat"), config.section("w2v2_config")
    label_rate = config.get("label_rate", int)
    if label_rate not in TIME_STRIDES:
        raise config.error("label_rate", f"is {label_rate}; expected one of {sorted(TIME_STRIDES)}.")
    conformer.choice("position_embeddings_type", ["rotary"])
    conformer.choice("hidden_act", ["swish", "silu"])
    return MuqConfig(
        hop_length=config.size("hop_length"),
        n_mels=config.size("n_mels"),
        mel_mean=stat.get("melspec_2048_mean", float),
        mel_std=stat.get("melspec_2048_std", float),
        time_strides=TIME_STRIDES[label_rate],
        conv_dim=config.size("conv_dim"),
        encoder_dim=config.size("encoder_dim"),
        encoder_depth=config.size("encoder_depth"),
        heads=conformer.size("num_attention_heads"),
        ffn_dim=conformer.size("intermediate_size"),
        conv_kernel=conformer.size("conv_depthwise_kernel_size"),
        layer_norm_eps=conformer.get("layer_norm_eps", float),
    )


def _transformer(section: Section, depth_key: str) -> TransformerConfig:
    return TransformerConfig(
        dim=section.size("dim"),
        depth=section.get(depth_key, int),
        heads=section.size("heads"),
        dim_head=section.size("dim_head"),
        ff_mult=section.get("ff_mult", float),
    )
