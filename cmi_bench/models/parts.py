"""Which files on the hub a model is made of, known without building it and without torch."""

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cmi_bench.errors import UserError
from cmi_bench.models.hub import CONFIG, WEIGHTS

ENCODER_CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
ENCODERS = ("audio_module.", "text_module.")
"""CMI-RM's prefixes of tensors that MuQ-MuLan has as well."""


class Part(NamedTuple):
    """Files of one repository on the hub."""

    repo: str
    files: tuple[str, ...]


Look = Callable[[str, str], Path | None]
"""Returns a file of a repository, or None where it cannot be had (at the moment)."""


def model_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """Return what a model needs from the hub, as far as can be known.

    One file names the next repository, so a file that `look` cannot give hides what it would have named.

    Args:
        spec: The composed `model` group.
        look: Finds the configurations and, where they are on this machine, the weights.

    Raises:
        UserError: A configuration is there but not readable.
    """
    find = _PARTS.get(str(spec.get("_target_")))
    return [] if find is None or not spec.get("checkpoint") else find(spec, look)


def cmi_rm_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """CMI-RM: its weights, and the configurations of MuQ-MuLan, MuQ and XLM-RoBERTa behind them."""
    checkpoint = str(spec["checkpoint"])
    path = Path(checkpoint).expanduser()
    config = _given_config(spec, path)
    parts = []
    if path.exists():
        weights: Path | None = path / WEIGHTS if path.is_dir() else path
    else:
        parts.append(Part(checkpoint, (WEIGHTS,) if spec.get("config") else (WEIGHTS, CONFIG)))
        weights = look(checkpoint, WEIGHTS)
        config = config or look(checkpoint, CONFIG)
    if config is not None:
        lacks_encoders = weights is not None and weights.is_file() and not _has_encoders(weights)
        parts += _mulan_parts(config, look, lacks_encoders=lacks_encoders)
    return parts


def _given_config(spec: Mapping[str, Any], checkpoint: Path) -> Path | None:
    """Return the configuration on this machine: the one given, or that beside the checkpoint."""
    if spec.get("config"):
        return Path(str(spec["config"])).expanduser()
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    return next(
        (one / CONFIG for one in (folder, folder.parent) if checkpoint.exists() and (one / CONFIG).is_file()), None
    )


def _mulan_parts(config: Path, look: Look, *, lacks_encoders: bool) -> list[Part]:
    files = (ENCODER_CONFIG, WEIGHTS) if lacks_encoders else (ENCODER_CONFIG,)
    mulan = _named(_name(config, "model", "model_name"), config, look, files)
    if mulan.config is None:
        return mulan.parts
    muq = _named(_name(mulan.config, "audio_model", "name"), mulan.config, look, (ENCODER_CONFIG,))
    xlmr = _named(_name(mulan.config, "text_model", "name"), mulan.config, look, (ENCODER_CONFIG, TOKENIZER))
    return mulan.parts + muq.parts + xlmr.parts


class _Named(NamedTuple):
    """What a name in a configuration stands for."""

    parts: list[Part]
    """What has to come from the hub; nothing where the name is that of a folder here."""
    config: Path | None
    """Its own configuration, if it is here."""


def _named(name: str, named_in: Path, look: Look, files: tuple[str, ...]) -> _Named:
    for folder in (Path(name).expanduser(), named_in.parent.parent / name):
        if folder.is_dir():
            return _Named([], folder / ENCODER_CONFIG)
    return _Named([Part(name, files)], look(name, ENCODER_CONFIG))


def _name(file: Path, section: str, key: str) -> str:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return str(values[section][key])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{file} has no readable {section}.{key}: {error}", "Get the file again.") from error


def _has_encoders(weights: Path) -> bool:
    names = tensor_shapes(weights)
    return all(any(name.startswith(prefix) for name in names) for prefix in ENCODERS)


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Return the tensors' names and shapes in a `.safetensors` file, after a check that it is whole.

    Raises:
        UserError: It is cut off, or no such file.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(length)) if length <= file.stat().st_size else {}
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        promised = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        shapes = {name: [int(size) for size in entry["shape"]] for name, entry in tensors.items()}
    except (OSError, ValueError, struct.error, KeyError, TypeError) as error:
        raise UserError(f"{file} is no .safetensors file: {error}", "Get it again.") from error
    size = file.stat().st_size
    if size != promised:
        raise UserError(f"{file} has {size:,} bytes; its header promises {promised:,}.", "It is cut off: get it again.")
    return shapes


class PartFile(NamedTuple):
    """One file of one repository."""

    repo: str
    file: str


def files_of(parts: Iterable[Part]) -> list[PartFile]:
    """Return the files of all parts, each once."""
    return list(dict.fromkeys(PartFile(part.repo, file) for part in parts for file in part.files))


_PARTS: dict[str, Callable[[Mapping[str, Any], Look], list[Part]]] = {
    "cmi_bench.models.cmi_rm.CmiRM": cmi_rm_parts,
}
"""By the model's `_target_`; models that are not here need nothing from the hub, or get it themselves."""
