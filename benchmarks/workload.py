"""A random network of the released sizes in the released file layout: what speed is measured on.

Its tensors have the released names and shapes, so it is loaded and computed as the released checkpoint is. Its scores
mean nothing.

Rows like those of CMI-Pref: two clips of 30 s and a reference each, as MP3 files.
"""

import json
from pathlib import Path
from typing import Any

import soundfile
import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from benchmarks.audio import SR, music
from cmi_bench.data import fields
from cmi_bench.models.cmi_rm.checkpoint import checkpoint_name, is_encoder
from cmi_bench.models.cmi_rm.config import read_reward_config
from cmi_bench.models.cmi_rm.network import Network
from cmi_bench.models.hub import WEIGHTS
from cmi_bench.models.muq.config import read_mulan_config, read_muq_config

DIM = 768
TRANSFORMER = {"dim": DIM, "tf_depth": 8, "heads": 8, "dim_head": 64, "ff_mult": 4}
"""Of MuQ-MuLan's audio tower; its text tower has the same."""
REWARD: dict[str, Any] = {
    "model_name": "muq-mulan",
    "dim": DIM,
    "mode": "concat_text_late",
    "attention_mode": "SA",
    "mlp_dim": 512,
    "output_dim": 2,
    "sr": 24000,
    "prompt_tf_depth": 4,
    "joint_tf_depth": 1,
    "dim_head": 64,
    "heads": 8,
    "ff_mult": 4,
    "downsample": {"eval": "mean4", "configs": {"none": {"kind": "none"}, "mean4": {"kind": "mean", "factor": 4}}},
}
MULAN: dict[str, Any] = {
    "mulan": {"sr": 24000, "clip_secs": 10, "dim_latent": 512},
    "audio_model": {"name": "muq", "model_dim": 1024, "use_layer_idx": -1},
    "text_model": {"name": "xlm-roberta", "model_dim": None, "use_layer_idx": -1},
    "audio_transformer": TRANSFORMER,
    "text_transformer": TRANSFORMER | {"max_seq_len": 1024},
}
MUQ: dict[str, Any] = {
    "label_rate": 25,
    "hop_length": 240,
    "n_mels": 128,
    "conv_dim": 512,
    "encoder_dim": 1024,
    "encoder_depth": 12,
    "stat": {"melspec_2048_mean": 6.77, "melspec_2048_std": 18.42},
    "w2v2_config": {
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "conv_depthwise_kernel_size": 31,
        "layer_norm_eps": 1e-5,
        "hidden_act": "swish",
        "position_embeddings_type": "rotary",
        "rotary_embedding_base": 10000,
        "max_source_positions": 5000,
        "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16,
        "feat_extract_activation": "gelu",
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "conformer_conv_dropout": 0.0,
        "layerdrop": 0.0,
    },
}
XLMR: dict[str, Any] = {
    "model_type": "xlm-roberta",
    "vocab_size": 250002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "layer_norm_eps": 1e-5,
}
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def write_checkpoints(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Write checkpoints that share their encoders and differ in their heads.

    The encoders' tensors are in `muq-mulan/model.safetensors` only, 2.3 GB, as with a training run that leaves
    them alone.

    Args:
        folder: Created; gets `muq-mulan`, `muq`, `xlm-roberta` and `step_0`, `step_1`, ...
        count: How many checkpoints.
        seed: Of the weights.

    Returns:
        The checkpoints' folders.
    """
    write_base(folder)
    torch.manual_seed(seed)
    checkpoints = [folder / f"step_{number}" for number in range(count)]
    for checkpoint in checkpoints:
        checkpoint.mkdir(exist_ok=True)
        (checkpoint / "config.yaml").write_text(yaml.safe_dump({"model": REWARD}), "utf-8")
    network = build_network(checkpoints[0])
    tensors = {checkpoint_name(name): tensor for name, tensor in network.state_dict().items()}
    encoders = {_mulan_name(name): tensor for name, tensor in tensors.items() if is_encoder(name)}
    save_file(_apart(encoders), folder / "muq-mulan" / "model.safetensors")
    head = {name: tensor for name, tensor in tensors.items() if not is_encoder(name)}
    for checkpoint in checkpoints:
        changed = {name: tensor * (1 + 0.1 * torch.randn_like(tensor)) for name, tensor in head.items()}
        save_file(_apart(changed), checkpoint / "model.safetensors")
    return checkpoints


def write_whole_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write one checkpoint that holds all tensors in one file, 2.8 GB, as the released one does.

    Args:
        folder: Created; gets `muq-mulan`, `muq` and `xlm-roberta`, which hold no weights, and `whole`.
        seed: Of the weights.

    Returns:
        The checkpoint's folder.
    """
    write_base(folder)
    checkpoint = folder / "whole"
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "config.yaml").write_text(yaml.safe_dump({"model": REWARD}), "utf-8")
    torch.manual_seed(seed)
    state = build_network(checkpoint).state_dict()
    save_file({checkpoint_name(name): tensor.contiguous() for name, tensor in state.items()}, checkpoint / WEIGHTS)
    return checkpoint


def build_network(checkpoint: Path) -> Network:
    """Return the network that a checkpoint's configurations describe, with random weights."""
    base = checkpoint.parent
    return Network(
        read_reward_config(checkpoint / "config.yaml"),
        read_mulan_config(base / "muq-mulan" / "config.json"),
        read_muq_config(base / "muq" / "config.json"),
        base / "xlm-roberta" / "config.json",
    ).eval()


def write_base(folder: Path) -> None:
    """Write configurations and tokenizer of the encoders."""
    for name, config in (("muq-mulan", MULAN), ("muq", MUQ), ("xlm-roberta", XLMR)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps(config, indent=2), "utf-8")
    letters = {letter: number for number, letter in enumerate([*SPECIAL, *map(chr, range(32, 127))])}
    tokenizer = Tokenizer(WordLevel(letters, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.save(str(folder / "xlm-roberta" / "tokenizer.json"))


def _mulan_name(name: str) -> str:
    module, _, rest = name.partition("_module.")
    return f"mulan.{module}.{rest}"


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors without shared memory, which the file format has no way to say."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


SECONDS = 30.0
ROWS_PER_REFERENCE = 2
"""CMI-Pref asks with one reference more than once."""


def write_workload(root: Path, rows: int) -> Path:
    """Write audio and rows; returns the rows' file.

    Args:
        root: Data root; created.
        rows: How many pairs.
    """
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(rows):
        reference = number // ROWS_PER_REFERENCE
        names = [f"{number}a.mp3", f"{number}b.mp3", f"ref{reference}.mp3"]
        for seed, name in zip((3 * number, 3 * number + 1, 3 * reference + 2), names, strict=True):
            if not (root / name).exists():
                soundfile.write(root / name, music(SECONDS, seed=seed), SR)
        lines.append(json.dumps(_row(number, names)))
    path = root / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _row(number: int, names: list[str]) -> dict[str, str]:
    return {
        fields.SOURCE: "cmi-arena-annotation",
        fields.SPLIT: "test",
        fields.AUDIO_A: names[0],
        fields.AUDIO_B: names[1],
        fields.REF_AUDIO: names[2],
        fields.PROMPT: f"A slow song number {number} for strings and drums, warm and a little sad.",
        fields.LYRICS: f"[verse] line {number} and on we go, the night is long, the lights are low",
        fields.PREFERENCE_MUSICALITY: "model_a" if number % 2 else "model_b",
        fields.PREFERENCE_ALIGNMENT: "model_b" if number % 3 else "model_a",
    }
