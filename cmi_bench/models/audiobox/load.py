"""Read Audiobox Aesthetics, strictly: what the hub has, or the package's own `checkpoint.pt`."""

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmi_bench.errors import UserError
from cmi_bench.models.cmi_rm.config_file import read_config
from cmi_bench.models.hub import EITHER_WEIGHTS, find_model
from cmi_bench.models.parts import ENCODER_CONFIG
from cmi_bench.models.strict import WHOLE, load_strictly, refuse

RATINGS = ("CE", "CU", "PC", "PQ")


@dataclass(frozen=True)
class LoadedAudiobox:
    """The network, and what turns its output into ratings."""

    network: nn.Module
    """The package's `AesMultiOutput`, on the CPU, in float32, every tensor from the file."""
    mean: Tensor
    """float32 [4]: what is added to the network's outputs, in the order of `RATINGS`, ..."""
    scale: Tensor
    """... after they are multiplied by this."""
    files: tuple[Path, ...]
    """Whatever makes the ratings what they are."""


def load_audiobox(checkpoint: str) -> LoadedAudiobox:
    """Read the model.

    Args:
        checkpoint: A `.pt` file of the package, or a folder or hub id with `config.json` and `model.safetensors`.

    Raises:
        UserError: The package is not installed, a file is missing, or a tensor or key is missing or wrong.
    """
    path = Path(checkpoint).expanduser()
    if path.is_file() and path.suffix == ".pt":
        return _from_pt(path)
    found = find_model(checkpoint, [ENCODER_CONFIG], weights=EITHER_WEIGHTS)
    config = found.folder / ENCODER_CONFIG
    values = read_config(config).values
    network = _build(values, config)
    load_strictly(network, found.weights)
    return _loaded(network, values, (found.weights, config))


def _from_pt(file: Path) -> LoadedAudiobox:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        values = dict(content["model_cfg"]) | {"target_transform": content["target_transform"]}
        tensors = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{file} is no checkpoint of audiobox_aesthetics that is safe to read: {reason}",
            "Give a folder with config.json and model.safetensors, or the hub id facebook/audiobox-aesthetics.",
        ) from error
    network = _build(values, file)
    wanted = network.state_dict()
    refuse("missing", wanted.keys() - tensors.keys(), [file], WHOLE)
    refuse(
        "unexpected", tensors.keys() - wanted.keys(), [file], "Do the configuration and the weights belong together?"
    )
    refuse("misshapen", (name for name in wanted if wanted[name].shape != tensors[name].shape), [file], WHOLE)
    network.load_state_dict(tensors)
    return _loaded(network.float().requires_grad_(False), values, (file,))


def _build(values: Mapping[str, Any], named_in: Path) -> nn.Module:
    """Build the network; keys of the configuration that the package does not know are passed over, as there."""
    try:
        from audiobox_aesthetics.model.aes import AesMultiOutput
    except ImportError as error:
        raise UserError(
            f"model=audiobox needs the package audiobox_aesthetics: {error}", "pip install '.[audiobox]'"
        ) from error
    known = {field.name for field in fields(AesMultiOutput)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about the package's weight_norm
            network: nn.Module = AesMultiOutput(**{key: value for key, value in values.items() if key in known})
            return network
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{named_in} does not describe Audiobox Aesthetics: {error}", "Get the file again.") from error


def _loaded(network: nn.Module, values: Mapping[str, Any], files: tuple[Path, ...]) -> LoadedAudiobox:
    try:
        mean, scale = (
            torch.tensor([float(values["target_transform"][axis][key]) for axis in RATINGS]) for key in ("mean", "std")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{files[-1]} has no readable target_transform: {error!r}", "Get the file again.") from error
    return LoadedAudiobox(network.eval(), mean, scale, files)
