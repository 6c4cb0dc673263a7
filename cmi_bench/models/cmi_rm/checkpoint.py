"""CMI-RM from disk or from the hub, loaded strictly, and the digests of its parts.

Every tensor of the network is from a file, and every tensor of the files is accounted for.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors.torch import save
from torch import Tensor, nn

from cmi_bench.errors import UserError
from cmi_bench.models.checkpoint_kinds import CMI_RM, check_kind
from cmi_bench.models.checkpoint_names import CONFIG
from cmi_bench.models.cmi_rm.config import RewardConfig, read_reward_config
from cmi_bench.models.cmi_rm.network import Network
from cmi_bench.models.config_files import read_mapping
from cmi_bench.models.hub import (
    ENCODER_CONFIG,
    TOKENIZER,
    WEIGHTS,
    CheckpointFiles,
    find_checkpoint,
    find_folder,
    find_weights,
    local_folder,
)
from cmi_bench.models.muq.config import MulanConfig, read_mulan_config, read_muq_config
from cmi_bench.models.muq.encoder import TRAINING_ONLY
from cmi_bench.models.muq.towers import TextTokenizer
from cmi_bench.models.weights import known_digest, read_tensors, refuse, tensors_digest
from cmi_bench.utils.files import content_key, files_digest, write_bytes_atomic, write_text_atomic

PREFIXES = {
    "audio_tower.muq.": "audio_module.model.model.",
    "audio_tower.": "audio_module.",
    "text_tower.": "text_module.",
    "scorer.": "",
}
"""The network's names to CMI-RM's; the first match counts."""

BASE_PREFIXES = {"mulan.audio.": "audio_module.", "mulan.text.": "text_module."}
"""MuQ-MuLan's names of the encoders to CMI-RM's."""

NOT_USED = (
    "*.num_batches_tracked",
    # MuQ's and MuQ-MuLan's training targets and pooling
    *(f"audio_module.model.model.{name}" for name in TRAINING_ONLY),
    "audio_module.aggregator.*",
    "text_module.model.pooler.*",
    "mulan.audio_to_latents.*",
    "mulan.text_to_latents.*",
    "mulan.contrast.*",
    # CMI-RM's training: dropped modalities, other heads
    "null_*_embedding",
    "single_score_projector.*",
    "alignment_head.*",
    "quality_head.*",
)
"""Patterns of tensors that may be in a checkpoint and are not loaded."""


def checkpoint_name(name: str) -> str:
    """Return CMI-RM's name of one of the network's tensors.

    >>> checkpoint_name("audio_tower.muq.conv.linear.weight")
    'audio_module.model.model.conv.linear.weight'
    >>> checkpoint_name("scorer.score_projector.0.bias")
    'score_projector.0.bias'
    """
    prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return PREFIXES[prefix] + name.removeprefix(prefix)


def name_in_base(name: str) -> str:
    """Return CMI-RM's name of one of MuQ-MuLan's tensors; a name without a counterpart stays.

    >>> name_in_base("mulan.audio.proj.bias")
    'audio_module.proj.bias'
    """
    for prefix, ours in BASE_PREFIXES.items():
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return name


def is_encoder(name: str) -> bool:
    """Return whether CMI-RM's name is one of an encoder tensor, which MuQ-MuLan has too."""
    return name.startswith(tuple(BASE_PREFIXES.values()))


def encoder_only(name: str) -> str:
    """Return the name of an encoder tensor as it is, and of any other one a name that is not used."""
    return name if is_encoder(name) else f"no encoder: {name}"


class Base(NamedTuple):
    """Where encoder tensors come from that a checkpoint lacks."""

    weights: Path
    is_cmi_rm: bool = False
    """Whether they are another CMI-RM's, of which nothing but the encoders is read, and not MuQ-MuLan's own."""


def load_weights(network: nn.Module, checkpoint: Path, find_base: Callable[[], Base]) -> dict[str, Path]:
    """Fill a network, which may have been built without memory (on the meta device).

    Tensors are mapped from the files, not copied; whatever their precision in the file, they become float32.

    Args:
        network: What to fill.
        checkpoint: CMI-RM's `model.safetensors`.
        find_base: Returns where encoder tensors come from that the checkpoint lacks; called only if some are.

    Returns:
        The file that each of the network's tensors is from.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or a file cannot be read.
    """
    wanted = {checkpoint_name(name): tensor for name, tensor in network.state_dict(keep_vars=True).items()}
    tensors = read_tensors(checkpoint, wanted, not_used=NOT_USED)
    _share(tensors, wanted)
    files, own = [checkpoint], frozenset(tensors)
    if any(is_encoder(name) for name in wanted.keys() - tensors.keys()):
        base = find_base()
        files.append(base.weights)
        rename = encoder_only if base.is_cmi_rm else name_in_base
        # Where both have a tensor, the checkpoint's counts.
        tensors = read_tensors(base.weights, wanted, rename=rename, not_used=[*NOT_USED, encoder_only("*")]) | tensors
    refuse("missing", wanted.keys() - tensors.keys(), files, "Is it the whole checkpoint, with its own config.yaml?")
    names = {name: checkpoint_name(name) for name in network.state_dict()}
    network.load_state_dict({name: tensors[theirs] for name, theirs in names.items()}, assign=True)
    network.requires_grad_(False)
    return {name: checkpoint if theirs in own else files[-1] for name, theirs in names.items()}


def _share(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Give one tensor of several names all of them: a file may hold it under the first only."""
    names_of = defaultdict(list)
    for name, tensor in wanted.items():
        names_of[id(tensor)].append(name)
    for names in names_of.values():
        stored = next((name for name in names if name in tensors), None)
        if stored is not None:
            tensors |= {name: tensors[stored] for name in names if name not in tensors}


SCORER = "scorer"
PARTS = {"audio": "audio_tower", "text": "text_tower", SCORER: "scorer"}
"""The parts of the network that have numbers of their own, and their modules."""
ENCODERS = ("audio", "text")
"""The parts that training leaves as they are."""


@dataclass(frozen=True)
class Loaded:
    """The network and where it came from."""

    network: Network
    """On the CPU, in float32, every tensor from a file."""
    tokenizer: TextTokenizer
    sr: int
    """Hz."""
    architecture: Mapping[str, Any]
    """The section `model` of CMI-RM's configuration, as it stands there."""
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
    check_kind(read_mapping(checkpoint.config), CMI_RM, checkpoint.config)
    reward = read_reward_config(checkpoint.config)
    mulan_file = _folder(reward.mulan_name, checkpoint.config) / ENCODER_CONFIG
    mulan = read_mulan_config(mulan_file)
    _check_widths(checkpoint.config, reward, mulan_file, mulan)
    muq_file = _folder(mulan.audio_model.name, mulan_file) / ENCODER_CONFIG
    xlmr = _folder(mulan.text_model.name, mulan_file, TOKENIZER)
    # No memory is set aside for the weights: they are mapped from their files.
    with torch.device("meta"):
        network = Network(reward, mulan, read_muq_config(muq_file), xlmr / ENCODER_CONFIG)
    origins = load_weights(
        network,
        checkpoint.weights,
        find_base=lambda: _find_base(reward, checkpoint.config),
    )
    return Loaded(
        network=network.eval(),
        tokenizer=TextTokenizer(xlmr / TOKENIZER, mulan.text_transformer.max_seq_len),
        sr=reward.sr,
        architecture=read_mapping(checkpoint.config)["model"],
        states={name: network.get_submodule(module).state_dict() for name, module in PARTS.items()},
        weights={
            name: tuple(sorted({file for tensor, file in origins.items() if tensor.startswith(f"{module}.")}))
            for name, module in PARTS.items()
        },
        files={
            "audio": (mulan_file, muq_file),
            "text": (mulan_file, xlmr / ENCODER_CONFIG, xlmr / TOKENIZER),
            "scorer": (checkpoint.config,),
        },
    )


def _find_base(reward: RewardConfig, config: Path) -> Base:
    if reward.encoders is None:
        return Base(find_weights(reward.mulan_name, named_in=config))
    return Base(find_checkpoint(reward.encoders, str(config)).weights, is_cmi_rm=True)


def read_null_embeddings(loaded: Loaded, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those null embeddings that the files have of which the scorer is.

    Args:
        loaded: The network.
        wanted: Tensors of the right shapes, by name.

    Raises:
        UserError: One has another shape.
    """
    files = loaded.weights[SCORER]
    return {name: tensor for file in files for name, tensor in read_tensors(file, wanted, not_used=["*"]).items()}


def _check_widths(reward_file: Path, reward: RewardConfig, mulan_file: Path, mulan: MulanConfig) -> None:
    for name, tower in (("audio", mulan.audio_transformer), ("text", mulan.text_transformer)):
        if tower.dim != reward.dim:
            raise UserError(
                f"{mulan_file}: {name}_transformer.dim is {tower.dim}, but {reward_file}: model.dim is {reward.dim}.",
                "Use the MuQ-MuLan that the checkpoint was trained on.",
            )


def _folder(name: str, named_in: Path, *files: str) -> Path:
    return find_folder(name, [ENCODER_CONFIG, *files], named_in=named_in)


def part_digests(loaded: Loaded, kept: Path | None = None) -> dict[str, str]:
    """Return for each part of the network the SHA-256 over its tensors, configuration and tokenizer: hexadecimal.

    Reads all weights, some seconds for the released checkpoint, but those whose digest is known. The names of files and
    the tensors that are not used do not matter.

    Args:
        loaded: The network.
        kept: Where digests of weights are kept from run to run; None for nowhere.
    """
    return {
        part: content_key(weights=_weights_digest(loaded, part, kept), files=files_digest(loaded.files[part]))
        for part in loaded.states
    }


def _weights_digest(loaded: Loaded, part: str, kept: Path | None) -> str:
    tensors = loaded.states[part]
    return known_digest(
        kept,
        loaded.weights[part],
        lambda: tensors_digest(tensors),
        part=part,
        tensors={name: list(tensor.shape) for name, tensor in tensors.items()},
    )


def check_encoders(loaded: Loaded, digest: str) -> None:
    """Check that the encoders are those that a head was trained on, where its configuration says which.

    Args:
        loaded: The network.
        digest: Of its encoders.

    Raises:
        UserError: They are not.
    """
    wanted = loaded.architecture.get("encoder_digest")
    if wanted is not None and wanted != digest:
        (config,) = loaded.files[SCORER]
        sources = " and ".join(sorted({str(file) for part in ENCODERS for file in loaded.weights[part]}))
        raise UserError(
            f"The encoders in {sources} are not those that the head was trained on.",
            f"Fix model.encoders or model.model_name in {config}.",
        )


def derived_architecture(loaded: Loaded, checkpoint: str, encoder_digest: str) -> dict[str, Any]:
    """Return the section `model` of the configuration of a head that was trained on the encoders of a checkpoint.

    Args:
        loaded: The checkpoint.
        checkpoint: Its name: a file, a folder or a hub id.
        encoder_digest: Of its encoders.
    """
    (config,) = loaded.files[SCORER]
    name = loaded.architecture["model_name"]
    mulan = local_folder(name, config)
    derived = {**loaded.architecture, "model_name": name if mulan is None else str(mulan.absolute())}
    if set(loaded.weights[SCORER]) & {file for part in ENCODERS for file in loaded.weights[part]}:
        path = Path(checkpoint).expanduser()
        derived["encoders"] = str(path.absolute()) if path.exists() else checkpoint
    return {**derived, "encoder_digest": encoder_digest}


def has_one_source(loaded: Loaded) -> bool:
    """Return whether the tensors of both encoders are from one file."""
    return len({file for part in ENCODERS for file in loaded.weights[part]}) == 1


def encoder_tensors(loaded: Loaded) -> dict[str, Tensor]:
    """Return the tensors of the encoders, by CMI-RM's names."""
    return {
        checkpoint_name(f"{PARTS[part]}.{name}"): tensor
        for part in ENCODERS
        for name, tensor in loaded.states[part].items()
    }


def save_cmi_rm(folder: Path, architecture: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint in the public layout into a folder.

    Args:
        folder: Where `model.safetensors` and `config.yaml` go.
        architecture: The section `model`.
        tensors: By CMI-RM's names.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    write_bytes_atomic(folder / WEIGHTS, save({name: one.detach().cpu().contiguous() for name, one in tensors.items()}))
    document = yaml.safe_dump({"model": dict(architecture)}, sort_keys=False, allow_unicode=True)
    write_text_atomic(folder / CONFIG, document)
