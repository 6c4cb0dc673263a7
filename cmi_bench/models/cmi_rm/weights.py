"""Load a checkpoint strictly: every tensor of the network from a file, every tensor of the file accounted for."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cmi_bench.errors import UserError
from cmi_bench.models.cmi_rm.checkpoint_names import checkpoint_name, is_encoder, is_not_used, name_in_base

NAMES_SHOWN = 5
"""Tensors named in an error; the rest are counted."""


def load_weights(network: nn.Module, checkpoint: Path, find_base: Callable[[], Path]) -> tuple[Path, ...]:
    """Fill a network, which may have been built without memory (on the meta device).

    Encoder tensors that the checkpoint lacks come from MuQ-MuLan's own weights. Tensors are mapped from the
    files, not copied; whatever their precision in the file, they become float32.

    Args:
        network: What to fill.
        checkpoint: CMI-RM's `model.safetensors`.
        find_base: Returns MuQ-MuLan's `model.safetensors`; called only if it is needed.

    Returns:
        The files that tensors came from.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or a file cannot be read.
    """
    wanted = {checkpoint_name(name): tensor for name, tensor in network.state_dict(keep_vars=True).items()}
    tensors = _read(checkpoint, wanted)
    _share(tensors, wanted)
    files = [checkpoint]
    if any(is_encoder(name) for name in wanted.keys() - tensors.keys()):
        files.append(find_base())
        # Where both have a tensor, the checkpoint's counts.
        tensors = _read(files[-1], wanted, rename=name_in_base) | tensors
    _refuse("missing", wanted.keys() - tensors.keys(), files, "Is it the whole checkpoint, with its own config.yaml?")
    names = {name: checkpoint_name(name) for name in network.state_dict()}
    network.load_state_dict({name: tensors[theirs] for name, theirs in names.items()}, assign=True)
    network.requires_grad_(False)
    return tuple(files)


def _read(file: Path, wanted: Mapping[str, Tensor], rename: Callable[[str], str] = str) -> dict[str, Tensor]:
    """Return the tensors of a file that are wanted, by CMI-RM's name."""
    try:
        with safe_open(file, framework="pt") as opened:
            names = {rename(name): name for name in opened.keys()}  # noqa: SIM118 (no mapping)
            unknown = [theirs for name, theirs in names.items() if name not in wanted and not is_not_used(name)]
            _refuse("unexpected", unknown, [file], "Does the configuration belong to these weights?")
            found = {name: opened.get_tensor(theirs) for name, theirs in names.items() if name in wanted}
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"Cannot read {file}: {error}", "It must be a complete .safetensors file; get it again."
        ) from error
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"{file}: tensor {names[name]} has shape {list(tensor.shape)}; the configuration makes it"
                f" {list(wanted[name].shape)}.",
                "Use the configuration files that came with the weights.",
            )
    return {name: tensor.to(torch.float32) for name, tensor in found.items()}


def _share(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Give one tensor of several names all of them: a file may hold it under the first only."""
    names_of = defaultdict(list)
    for name, tensor in wanted.items():
        names_of[id(tensor)].append(name)
    for names in names_of.values():
        stored = next((name for name in names if name in tensors), None)
        if stored is not None:
            tensors |= {name: tensors[stored] for name in names if name not in tensors}


def _refuse(what: str, names: Iterable[str], files: Iterable[Path], hint: str) -> None:
    listed = sorted(names)
    if not listed:
        return
    more = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    tensors = "tensor" if len(listed) == 1 else "tensors"
    where = " and ".join(str(file) for file in files)
    raise UserError(f"{where}: {what} {tensors} {', '.join(listed[:NAMES_SHOWN])}{more}.", hint)
