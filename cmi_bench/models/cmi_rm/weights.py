"""Load a checkpoint strictly: every tensor of the network from a file, every tensor of the file accounted for."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from cmi_bench.models.cmi_rm.checkpoint_names import checkpoint_name, is_encoder, is_not_used, name_in_base
from cmi_bench.models.strict import read_tensors, refuse


def load_weights(network: nn.Module, checkpoint: Path, find_base: Callable[[], Path]) -> dict[str, Path]:
    """Fill a network, which may have been built without memory (on the meta device).

    Encoder tensors that the checkpoint lacks come from MuQ-MuLan's own weights. Tensors are mapped from the
    files, not copied; whatever their precision in the file, they become float32.

    Args:
        network: What to fill.
        checkpoint: CMI-RM's `model.safetensors`.
        find_base: Returns MuQ-MuLan's weights; called only if they are needed.

    Returns:
        The file that each of the network's tensors is from.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or a file cannot be read.
    """
    wanted = {checkpoint_name(name): tensor for name, tensor in network.state_dict(keep_vars=True).items()}
    tensors = read_tensors(checkpoint, wanted, is_not_used=is_not_used)
    _share(tensors, wanted)
    files, own = [checkpoint], frozenset(tensors)
    if any(is_encoder(name) for name in wanted.keys() - tensors.keys()):
        files.append(find_base())
        # Where both have a tensor, the checkpoint's counts.
        base = read_tensors(files[-1], wanted, rename=name_in_base, is_not_used=is_not_used)
        tensors = base | tensors
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
