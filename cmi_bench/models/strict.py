"""Read tensors strictly: every one that is wanted is in the file, every one in the file is accounted for."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cmi_bench.errors import UserError

NAMES_SHOWN = 5
"""Tensors named in an error; the rest are counted."""
WHOLE = "Is it the whole checkpoint, with its own configuration?"


def load_strictly(
    network: nn.Module,
    file: Path,
    *,
    name_in_file: Callable[[str], str] = str,
    is_not_used: Callable[[str], bool] = lambda _: False,
) -> None:
    """Fill a network, which may have been built without memory (on the meta device), from one file.

    Args:
        network: What to fill; afterwards in float32, mapped from the file, and without gradients.
        file: A `.safetensors` file, or a state dict that PyTorch saved.
        name_in_file: Returns what a tensor of the network is called there.
        is_not_used: Tells whether a tensor of the file may be passed over.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or the file cannot be read.
    """
    own = network.state_dict()
    wanted = {name_in_file(name): tensor for name, tensor in own.items()}
    tensors = read_tensors(file, wanted, is_not_used=is_not_used)
    refuse("missing", wanted.keys() - tensors.keys(), [file], WHOLE)
    network.load_state_dict({name: tensors[name_in_file(name)] for name in own}, assign=True)
    network.requires_grad_(False)


def read_tensors(
    file: Path,
    wanted: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str] = str,
    is_not_used: Callable[[str], bool] = lambda _: False,
) -> dict[str, Tensor]:
    """Return those of the tensors wanted that a file has, as float32.

    Args:
        file: A `.safetensors` file, or a state dict that PyTorch saved.
        wanted: Tensors of the right shapes, by name.
        rename: Returns the name in `wanted` of what the file calls otherwise.
        is_not_used: Tells whether a name that is not wanted may be there.

    Raises:
        UserError: A tensor is unexpected or of another shape, or the file cannot be read.
    """
    with _opened(file) as stored:
        names = {rename(name): name for name in stored.names}
        unknown = [theirs for name, theirs in names.items() if name not in wanted and not is_not_used(name)]
        refuse("unexpected", unknown, [file], "Does the configuration belong to these weights?")
        found = {name: stored.tensor(theirs) for name, theirs in names.items() if name in wanted}
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"{file}: tensor {names[name]} has shape {list(tensor.shape)}; the configuration makes it"
                f" {list(wanted[name].shape)}.",
                "Use the configuration files that came with the weights.",
            )
    return {name: tensor.to(torch.float32) for name, tensor in found.items()}


class _Stored(NamedTuple):
    """An open file of tensors."""

    names: list[str]
    tensor: Callable[[str], Tensor]


@contextmanager
def _opened(file: Path) -> Iterator[_Stored]:
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                yield _Stored(list(opened.keys()), opened.get_tensor)
        else:  # of a pickle nothing but tensors is read, so that it can run no code
            tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            yield _Stored(list(tensors), tensors.__getitem__)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        kind = file.suffix if file.suffix == ".safetensors" else f"{file.suffix} (state dict)"
        raise UserError(f"Cannot read {file}: {reason}", f"It must be a complete {kind} file; get it again.") from error


def refuse(what: str, names: Iterable[str], files: Iterable[Path], hint: str) -> None:
    """Raise an error that names tensors, if there are any.

    Raises:
        UserError: There are some.
    """
    listed = sorted(names)
    if not listed:
        return
    more = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    tensors = "tensor" if len(listed) == 1 else "tensors"
    where = " and ".join(str(file) for file in files)
    raise UserError(f"{where}: {what} {tensors} {', '.join(listed[:NAMES_SHOWN])}{more}.", hint)
