"""What settles CMI-RM's numbers, as content addresses."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from cmi_bench.content import content_key, files_digest
from cmi_bench.models.cmi_rm.load import Loaded


def part_digests(loaded: Loaded) -> dict[str, str]:
    """Return for each part of the network the SHA-256 over its tensors, configuration and tokenizer: hexadecimal.

    Reads all weights, some seconds for the released checkpoint. The names of files and the tensors that are not
    used do not matter.
    """
    return {
        part: content_key(weights=tensors_digest(tensors), files=files_digest(loaded.files[part]))
        for part, tensors in loaded.states.items()
    }


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
