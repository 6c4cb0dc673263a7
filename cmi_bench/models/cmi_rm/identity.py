"""What settles CMI-RM's numbers, as content addresses."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from cmi_bench.content import content_key, files_digest
from cmi_bench.models.cmi_rm.load import Loaded
from cmi_bench.models.known_digests import known_digest


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


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over tensors by name, whatever file they came from: hexadecimal."""
    names = sorted(tensors)
    whole = hashlib.sha256()
    with ThreadPoolExecutor() as pool:  # hashing lets the other threads run
        for name, content in zip(names, pool.map(_content_digest, [tensors[name] for name in names]), strict=True):
            whole.update(f"{name} {list(tensors[name].shape)} {tensors[name].dtype}".encode() + content)
    return whole.hexdigest()


def _content_digest(tensor: Tensor) -> bytes:
    # As bytes, since NumPy knows no bfloat16; the shape of a scalar has no last dimension to view.
    return hashlib.sha256(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data).digest()
