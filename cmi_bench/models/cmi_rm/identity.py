"""What settles CMI-RM's numbers, as content addresses."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

import cmi_bench
from cmi_bench.content import content_key
from cmi_bench.models.cmi_rm.load import Loaded


def files_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the files' contents, whatever their names: hexadecimal.

    Reads all of them: some seconds for the released checkpoint.
    """
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over tensors by name, whatever file they came from: hexadecimal."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        whole.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        # As bytes, since NumPy knows no bfloat16; the shape of a scalar has no last dimension to view.
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def encoder_identity(loaded: Loaded, tower: str, precision: str) -> str:
    """Return what settles the embeddings of the "audio" or the "text" tower.

    Checkpoints that were trained on the same frozen encoder agree in it.
    """
    return content_key(
        encoder=f"cmi_rm {tower}",
        weights=tensors_digest(loaded.encoder_states[tower]),
        files=files_digest(loaded.encoder_files[tower]),
        precision=precision,
        code=cmi_bench.__version__,
    )
