"""Sizes and choices of CMI-RM and of the two encoders under it, from the files that come with the weights."""

from dataclasses import dataclass
from pathlib import Path

from cmi_bench.models.cmi_rm.config_file import Section, read_config
from cmi_bench.models.cmi_rm.downsample_config import Downsampling, read_downsampling
from cmi_bench.models.cmi_rm.mel import SAMPLE_RATE

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
