"""Sizes of MuQ, MuQ-MuLan and XLM-RoBERTa, from the `config.json` files that come with their weights."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from cmi_bench.models.config_files import ConfigSection, Size, key_error, one_of, read_config_file
from cmi_bench.models.muq.mel import SAMPLE_RATE

TIME_STRIDES = {25: (2, 2), 50: (2, 1)}
"""Strides in time of the two convolution blocks, by frames per second."""


def check_sample_rate(sr: int) -> int:
    """Return MuQ's sampling rate; any other is an error. For the validators of configuration files."""
    if sr != SAMPLE_RATE:
        raise key_error(f"is {sr}; MuQ takes {SAMPLE_RATE} Hz.")
    return sr


class TransformerConfig(ConfigSection):
    """Sizes of a stack of transformer blocks."""

    dim: Size
    depth: Annotated[int, Field(alias="tf_depth")]
    heads: Size
    dim_head: Size
    ff_mult: float


class TextTransformerConfig(TransformerConfig):
    """The transformer over tokens."""

    max_seq_len: Size
    """Tokens kept of a text."""


class MulanSection(ConfigSection):
    """The section `mulan`."""

    sr: int
    """Hz."""

    _check_sr = field_validator("sr")(check_sample_rate)


class AudioModelSection(ConfigSection):
    """The audio encoder: the section `audio_model`."""

    name: str
    """Folder or hub id of MuQ."""
    dim: Annotated[Size, Field(alias="model_dim")]


class TextModelSection(ConfigSection):
    """The text encoder: the section `text_model`."""

    name: str
    """Folder or hub id of XLM-RoBERTa, for its configuration and tokenizer."""
    dim: Annotated[int | None, Field(alias="model_dim")] = None
    """Width where it differs from the transformer's."""


class MulanConfig(ConfigSection):
    """MuQ-MuLan: `config.json`."""

    mulan: MulanSection
    audio_model: AudioModelSection
    text_model: TextModelSection
    audio_transformer: TransformerConfig
    text_transformer: TextTransformerConfig


class MelSection(ConfigSection):
    """Mean and standard deviation of the training's spectrograms, dB: the section `stat`."""

    mean: Annotated[float, Field(alias="melspec_2048_mean")]
    std: Annotated[float, Field(alias="melspec_2048_std")]


class ConformerConfig(ConfigSection):
    """The Conformer, in Hugging Face's names: the section `w2v2_config`."""

    heads: Annotated[Size, Field(alias="num_attention_heads")]
    ffn_dim: Annotated[Size, Field(alias="intermediate_size")]
    conv_kernel: Annotated[Size, Field(alias="conv_depthwise_kernel_size")]
    layer_norm_eps: float
    position_embeddings_type: Annotated[str, one_of("rotary")]
    hidden_act: Annotated[str, one_of("swish", "silu")]


class MuqConfig(ConfigSection):
    """MuQ: `config.json`."""

    label_rate: int
    """Frames per second."""
    hop_length: Size
    n_mels: Size
    stat: MelSection
    conv_dim: Size
    encoder_dim: Size
    encoder_depth: Size
    conformer: Annotated[ConformerConfig, Field(alias="w2v2_config")]

    @field_validator("label_rate")
    @classmethod
    def _check_label_rate(cls, rate: int) -> int:
        if rate not in TIME_STRIDES:
            raise key_error(f"is {rate}; expected one of {sorted(TIME_STRIDES)}.")
        return rate

    @property
    def time_strides(self) -> tuple[int, int]:
        """Strides in time of the two convolution blocks."""
        return TIME_STRIDES[self.label_rate]


class XlmRobertaConfig(ConfigSection):
    """XLM-RoBERTa: `config.json`, in Hugging Face's names."""

    vocab_size: Size
    width: Annotated[Size, Field(alias="hidden_size")]
    depth: Annotated[int, Field(alias="num_hidden_layers")]
    heads: Annotated[Size, Field(alias="num_attention_heads")]
    ffn_dim: Annotated[Size, Field(alias="intermediate_size")]
    positions: Annotated[Size, Field(alias="max_position_embeddings")]
    types: Annotated[Size, Field(alias="type_vocab_size")]
    pad_id: Annotated[int, Field(alias="pad_token_id")]
    layer_norm_eps: float
    hidden_act: Annotated[str, one_of("gelu")] = "gelu"
    position_embedding_type: Annotated[str, one_of("absolute")] = "absolute"


def read_mulan_config(file: Path) -> MulanConfig:
    """Read MuQ-MuLan's `config.json`; a missing or wrong key is a `UserError` that names it."""
    return read_config_file(file, MulanConfig)


def read_muq_config(file: Path) -> MuqConfig:
    """Read MuQ's `config.json`; a missing or wrong key is a `UserError` that names it."""
    return read_config_file(file, MuqConfig)


def read_xlm_roberta_config(file: Path) -> XlmRobertaConfig:
    """Read XLM-RoBERTa's `config.json`; a missing or wrong key is a `UserError` that names it."""
    return read_config_file(file, XlmRobertaConfig)
