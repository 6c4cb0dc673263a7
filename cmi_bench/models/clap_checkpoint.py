"""CLAP's weights, read strictly in either layout: LAION's own checkpoint, or a `ClapModel` of `transformers`.

LAION's layout (https://github.com/LAION-AI/CLAP): one file of a training run with its optimizer, without any
configuration. The sizes come from the tensors' shapes; what shapes do not show is fixed in LAION's code, and here.
"""

import math
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel
from transformers.utils import logging as hf_logging

from cmi_bench.errors import NotFetchedError, UserError
from cmi_bench.models.config_files import ConfigSection, Size, one_of, read_config_file
from cmi_bench.models.hub import (
    EITHER_WEIGHTS,
    ENCODER_CONFIG,
    LAION_CLAP_FOLDER,
    PREPROCESSOR,
    TOKENIZER,
    ModelFolder,
    find_model,
    find_tokenizer,
    is_lone_file,
)
from cmi_bench.models.muq.towers import TextTokenizer
from cmi_bench.models.weights import WHOLE, read_checkpoint, refuse, without
from cmi_bench.utils.files import file_digest, write_bytes_atomic


@dataclass(frozen=True)
class ClapInput:
    """How a window of audio becomes the network's input."""

    sampling_rate: int
    """Hz."""
    samples: int
    """Of a window."""
    fft_size: int
    hop_length: int
    filters: Tensor
    """float64 [fft_size // 2 + 1, mel bands]."""
    is_fused: bool
    """Whether the network takes four spectrograms of a clip."""
    is_quantised: bool
    """Whether samples are rounded to 16 bits first, as in LAION's training."""


@dataclass(frozen=True)
class LoadedClap:
    """The network, and what prepares its inputs."""

    network: ClapModel
    """On the CPU, in float32, every tensor from the file."""
    input: ClapInput
    tokenizer: TextTokenizer
    files: tuple[Path, ...]
    """Whatever makes the scores what they are: weights, configurations, tokenizer."""


def load_clap(checkpoint: str, tokenizer: str | None) -> LoadedClap:
    """Read CLAP in either layout.

    Args:
        checkpoint: LAION's file (`.pt`, or `.safetensors` made of it by `task=prepare`), or the folder or hub id of a
            `ClapModel`.
        tokenizer: Folder or hub id of RoBERTa's tokenizer, for LAION's file, which has none.

    Raises:
        UserError: A file cannot be read, or a tensor is missing, unexpected or of another shape; the message names it.
    """
    if is_lone_file(checkpoint):
        return _load_original(Path(checkpoint).expanduser(), tokenizer)
    return _load_port(find_model(checkpoint, [ENCODER_CONFIG, PREPROCESSOR, TOKENIZER], weights=EITHER_WEIGHTS))


PORT_NOT_USED = ("*.num_batches_tracked", "*.position_ids", "*.token_type_ids", "*.relative_position_index")
"""Constants that older files of `transformers` hold."""


class PreprocessorConfig(ConfigSection):
    """How `transformers` prepares audio: `preprocessor_config.json`."""

    sampling_rate: Size
    fft_window_size: Size
    hop_length: Size
    feature_size: Size
    """Mel bands."""
    frequency_min: float
    frequency_max: float
    nb_max_samples: Size
    padding: Annotated[str, one_of("repeatpad")]
    truncation: Annotated[str, one_of("rand_trunc", "fusion")]


def _load_port(found: ModelFolder) -> LoadedClap:
    sizes = read_config_file(found.folder / PREPROCESSOR, PreprocessorConfig)
    try:
        with _quietly():
            network, info = ClapModel.from_pretrained(
                found.folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"Cannot read CLAP in {found.folder}: {reason}", "Get the model again, all of it.") from error
    refuse("missing", info["missing_keys"], [found.weights], WHOLE)
    refuse("misshapen", (str(one[0]) for one in info["mismatched_keys"]), [found.weights], WHOLE)
    unexpected = without(info["unexpected_keys"], PORT_NOT_USED)
    refuse("unexpected", unexpected, [found.weights], "Does the configuration belong to these weights?")
    is_fused = sizes.truncation == "fusion"
    text = network.config.text_config
    return LoadedClap(
        network=network.eval().requires_grad_(False),
        input=ClapInput(
            sampling_rate=sizes.sampling_rate,
            samples=sizes.nb_max_samples,
            fft_size=sizes.fft_window_size,
            hop_length=sizes.hop_length,
            filters=_port_filters(sizes, is_fused=is_fused),
            is_fused=is_fused,
            is_quantised=False,
        ),
        tokenizer=TextTokenizer(found.folder / TOKENIZER, text.max_position_embeddings - text.pad_token_id - 1),
        files=(found.weights, *(found.folder / name for name in (ENCODER_CONFIG, PREPROCESSOR, TOKENIZER))),
    )


def _port_filters(sizes: PreprocessorConfig, *, is_fused: bool) -> Tensor:
    extractor = ClapFeatureExtractor(
        feature_size=sizes.feature_size,
        sampling_rate=sizes.sampling_rate,
        fft_window_size=sizes.fft_window_size,
        frequency_min=sizes.frequency_min,
        frequency_max=sizes.frequency_max,
    )
    return torch.from_numpy(extractor.mel_filters if is_fused else extractor.mel_filters_slaney).double()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the library's bars and warnings off the screen; this module checks what they are about."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


SAMPLING_RATE, WINDOW_SAMPLES, FFT_SIZE, HOP_LENGTH = 48_000, 480_000, 1024, 480
MAX_TOKENS = 77
"""Longer prompts are cut, as in LAION's code."""
PAD_TOKEN, TEXT_HEAD_DIM, LAYER_NORM_EPS = 1, 64, 1e-5
"""RoBERTa's, which shapes do not show."""
MEL_FILTERS = "audio_branch.logmel_extractor.melW"
ORIGINAL_NOT_USED = (
    "text_transform.*",
    "audio_transform.*",
    "audio_branch.spectrogram_extractor.*",
    "audio_branch.tscam_conv.*",
    "audio_branch.head.*",
    "audio_branch.layers.*.attn_mask",
    "text_branch.embeddings.position_ids",
    "text_branch.embeddings.token_type_ids",
)
"""Training losses, the classifier, the Fourier transform as a convolution, and constants."""
TEXT_CONSTANTS = ("text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids")

_RENAMED = (
    (r"^text_model\.", "text_branch."),
    (r"^audio_model\.audio_encoder\.", "audio_branch."),
    (r"^(audio|text)_projection\.linear1\.", r"\1_projection.0."),
    (r"^(audio|text)_projection\.linear2\.", r"\1_projection.2."),
    (r"^audio_branch\.batch_norm\.", "audio_branch.bn0."),
    (r"^(audio_branch\.layers\.\d+\.blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
    (r"^(audio_branch\.layers\.\d+\.blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
    (r"^(audio_branch\.layers\.\d+\.blocks\.\d+)\.attention\.output\.dense\.", r"\1.attn.proj."),
    (r"^(audio_branch\.layers\.\d+\.blocks\.\d+)\.attention\.self\.(query|key|value)\.", r"\1.attn.qkv."),
    (r"^(audio_branch\.layers\.\d+\.blocks\.\d+)\.attention\.self\.", r"\1.attn."),
    (r"^(audio_branch\.layers\.\d+\.blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(audio_branch\.layers\.\d+\.blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
"""From names of `transformers` to LAION's, one after the other."""
_THIRDS = ("query", "key", "value")


def name_in_original(name: str) -> str:
    """Return LAION's name of one of `ClapModel`'s tensors.

    >>> name_in_original("audio_model.audio_encoder.layers.0.blocks.1.attention.self.key.bias")
    'audio_branch.layers.0.blocks.1.attn.qkv.bias'
    >>> name_in_original("text_projection.linear2.weight")
    'text_projection.2.weight'
    """
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _load_original(file: Path, tokenizer: str | None) -> LoadedClap:
    tensors = read_original(file)
    network = _network_of(file, tensors)
    words = find_tokenizer(tokenizer, beside=file)
    return LoadedClap(
        network=network.eval().requires_grad_(False),
        input=ClapInput(
            sampling_rate=SAMPLING_RATE,
            samples=WINDOW_SAMPLES,
            fft_size=FFT_SIZE,
            hop_length=HOP_LENGTH,
            filters=tensors[MEL_FILTERS].double(),
            is_fused=False,
            is_quantised=True,
        ),
        tokenizer=TextTokenizer(words, MAX_TOKENS),
        files=(file, words),
    )


def _network_of(file: Path, tensors: Mapping[str, Tensor]) -> ClapModel:
    """Build the network that the tensors are of, and fill it with them; see `load_clap` for errors."""
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if any("mel_conv2d" in name or "fusion_model" in name for name in tensors):
        raise UserError(f"{file} is a fusion model of LAION.", "Give one without fusion; the file's name says which.")
    with torch.device("meta"):
        network = ClapModel(_config(file, shapes))
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name not in TEXT_CONSTANTS}
    names = {name_in_original(name) for name in wanted} | {MEL_FILTERS}
    refuse("missing", names - tensors.keys(), [file], "Is it the whole checkpoint?")
    refuse("unexpected", without(tensors.keys() - names, ORIGINAL_NOT_USED), [file], "Is it HTSAT with RoBERTa?")
    found = {name: _part(name, tensors[name_in_original(name)]) for name in wanted}
    misshapen = {name_in_original(name) for name in wanted if found[name].shape != wanted[name].shape}
    if shapes[MEL_FILTERS] != [FFT_SIZE // 2 + 1, shapes["audio_branch.bn0.weight"][0]]:
        misshapen.add(MEL_FILTERS)
    refuse("misshapen", misshapen, [file], WHOLE)
    network.load_state_dict(found | _text_constants(network), assign=True)
    return network


def read_original(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file in LAION's layout, by LAION's names; floating ones in float32.

    Raises:
        UserError: The file is not there or cannot be read.
    """
    if not file.is_file():
        kind = NotFetchedError if file.parent.name == LAION_CLAP_FOLDER else UserError
        raise kind(f"There is no {file}.", "Give LAION's .pt file, or what task=prepare makes of it.")
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_checkpoint(file).items()}
    return {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}


def convert_original(source: Path, target: Path) -> None:
    """Write the tensors of LAION's checkpoint into a `.safetensors` file, without the optimizer, after a strict check.

    Raises:
        UserError: The checkpoint cannot be read, or a tensor is missing, unexpected or of another shape.
    """
    tensors = read_original(source)
    _network_of(source, tensors)
    kept = {name: tensors[name].contiguous() for name in without(tensors, ORIGINAL_NOT_USED)}
    write_bytes_atomic(target, save(kept, {"source": source.name, "source_sha256": file_digest(source)}))


def _part(name: str, tensor: Tensor) -> Tensor:
    """Return the tensor of a name of `transformers`: all of LAION's, or a third of the joint query, key and value."""
    joint = re.search(r"\.attention\.self\.(query|key|value)\.", name)
    if joint is None or not name.startswith("audio_model."):
        return tensor
    thirds = tensor.chunk(3) if tensor.ndim else ()
    return thirds[_THIRDS.index(joint[1])].clone() if len(thirds) == 3 else tensor


def _text_constants(network: ClapModel) -> dict[str, Tensor]:
    positions = network.config.text_config.max_position_embeddings
    return dict(
        zip(TEXT_CONSTANTS, (torch.arange(positions)[None], torch.zeros(1, positions, dtype=torch.long)), strict=True)
    )


def _config(file: Path, shapes: Mapping[str, Sequence[int]]) -> ClapConfig:
    """Return the sizes that the tensors' shapes show."""
    try:
        return _config_of(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"{file} does not have the tensors of LAION's CLAP (HTSAT with RoBERTa): {error}.",
            "Give music_audioset_epoch_15_esc_90.14.pt, or another checkpoint of LAION's without fusion.",
        ) from error


def _config_of(shapes: Mapping[str, Sequence[int]]) -> ClapConfig:
    layer = "audio_branch.layers"
    layers = _count(shapes, rf"{re.escape(layer)}\.(\d+)\.")
    table = shapes[f"{layer}.0.blocks.0.attn.relative_position_bias_table"]
    width, _, patch, _ = shapes["audio_branch.patch_embed.proj.weight"]
    audio: dict[str, Any] = {
        "patch_embeds_hidden_size": width,
        "patch_size": patch,
        "patch_stride": [patch, patch],
        "depths": [_count(shapes, rf"{re.escape(layer)}\.{i}\.blocks\.(\d+)\.") for i in range(layers)],
        "num_attention_heads": [
            shapes[f"{layer}.{i}.blocks.0.attn.relative_position_bias_table"][1] for i in range(layers)
        ],
        "window_size": (math.isqrt(table[0]) + 1) // 2,
        "mlp_ratio": shapes[f"{layer}.0.blocks.0.mlp.fc1.weight"][0] / width,
        "num_mel_bins": shapes["audio_branch.bn0.weight"][0],
        "hidden_size": width * 2 ** (layers - 1),
        "projection_dim": shapes["audio_projection.2.weight"][0],
    }
    words, hidden = shapes["text_branch.embeddings.word_embeddings.weight"]
    encoder = "text_branch.encoder.layer"
    text: dict[str, Any] = {
        "vocab_size": words,
        "hidden_size": hidden,
        "num_hidden_layers": _count(shapes, rf"{re.escape(encoder)}\.(\d+)\."),
        "num_attention_heads": hidden // TEXT_HEAD_DIM,
        "intermediate_size": shapes[f"{encoder}.0.intermediate.dense.weight"][0],
        "max_position_embeddings": shapes["text_branch.embeddings.position_embeddings.weight"][0],
        "type_vocab_size": shapes["text_branch.embeddings.token_type_embeddings.weight"][0],
        "pad_token_id": PAD_TOKEN,
        "layer_norm_eps": LAYER_NORM_EPS,
        "projection_dim": shapes["text_projection.2.weight"][0],
    }
    return ClapConfig(text_config=text, audio_config=audio, projection_dim=text["projection_dim"])


def _count(shapes: Mapping[str, Sequence[int]], pattern: str) -> int:
    """Return how many numbers a pattern's group has in the names; they must be 0, 1, 2, ..."""
    numbers = {int(found[1]) for name in shapes if (found := re.match(pattern, name))}
    if not numbers or numbers != set(range(len(numbers))):
        raise ValueError(f"layers {sorted(numbers)}")
    return len(numbers)
