"""Read CMI-RM from disk or from the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cmi_bench.models.cmi_rm.config import read_mulan_config, read_muq_config, read_reward_config
from cmi_bench.models.cmi_rm.network import Network
from cmi_bench.models.cmi_rm.tokenizer import TextTokenizer
from cmi_bench.models.cmi_rm.weights import load_weights
from cmi_bench.models.hub import CheckpointFiles, find_folder, find_weights

ENCODER_CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
PARTS = {"audio": "audio_tower", "text": "text_tower", "scorer": "scorer"}
"""The parts of the network that have numbers of their own, and their modules."""


@dataclass(frozen=True)
class Loaded:
    """The network and where it came from."""

    network: Network
    """On the CPU, in float32, every tensor from a file."""
    tokenizer: TextTokenizer
    sr: int
    """Hz."""
    states: Mapping[str, Mapping[str, Tensor]]
    """Tensors of the parts "audio", "text" and "scorer" as they were loaded, whatever is made of the network later."""
    weights: Mapping[str, tuple[Path, ...]]
    """The files that the parts' tensors are from."""
    files: Mapping[str, tuple[Path, ...]]
    """What else decides over the parts' numbers: configurations, tokenizer."""


def load_cmi_rm(checkpoint: CheckpointFiles) -> Loaded:
    """Build the network that the configurations describe, and fill it.

    Raises:
        UserError: A file, key or tensor is missing or wrong; the message names it.
    """
    reward = read_reward_config(checkpoint.config)
    mulan = read_mulan_config(_folder(reward.mulan_name, reward.file) / ENCODER_CONFIG)
    muq_file = _folder(mulan.muq_name, mulan.file) / ENCODER_CONFIG
    xlmr = _folder(mulan.xlmr_name, mulan.file, TOKENIZER)
    # No memory is set aside for the weights: they are mapped from their files.
    with torch.device("meta"):
        network = Network(reward, mulan, read_muq_config(muq_file), xlmr / ENCODER_CONFIG)
    origins = load_weights(
        network,
        checkpoint.weights,
        find_base=lambda: find_weights(reward.mulan_name, named_in=reward.file),
    )
    return Loaded(
        network=network.eval(),
        tokenizer=TextTokenizer(xlmr / TOKENIZER, mulan.max_seq_len),
        sr=reward.sr,
        states={name: network.get_submodule(module).state_dict() for name, module in PARTS.items()},
        weights={
            name: tuple(sorted({file for tensor, file in origins.items() if tensor.startswith(f"{module}.")}))
            for name, module in PARTS.items()
        },
        files={
            "audio": (mulan.file, muq_file),
            "text": (mulan.file, xlmr / ENCODER_CONFIG, xlmr / TOKENIZER),
            "scorer": (reward.file,),
        },
    )


def _folder(name: str, named_in: Path, *files: str) -> Path:
    return find_folder(name, [ENCODER_CONFIG, *files], named_in=named_in)
