"""Batches and precision: the arithmetic scores are computed in, padded batches of sequences."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cmi_bench.config import no_tensor_float32
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.float32_products import tensor_float32

log = logging.getLogger(__name__)

Precision = Literal["32", "tf32", "bf16"]

CPUS_WITHOUT_BF16 = ("DEFAULT", "AVX2")
"""PyTorch's names of instruction sets on which it multiplies bfloat16 by a slow reference path."""
LEAST_CAPABILITY = (8, 0)
"""NVIDIA's GPUs multiply TensorFloat-32 and bfloat16 from this compute capability on (Ampere, 2020)."""


def checked_precision(name: str) -> Precision:
    """Return the precision named.

    Raises:
        UserError: There is none of that name.
    """
    for precision in get_args(Precision):
        if name == precision:
            return precision  # type: ignore[no-any-return]
    raise UserError(f"There is no precision {name!r}.", did_you_mean(name, get_args(Precision)))


def computes_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 by itself."""
    return torch.backends.cpu.get_cpu_capability() not in CPUS_WITHOUT_BF16


def check_device(
    precision: Precision, device: torch.device, *, key: str = "precision", fast_bf16: bool = False
) -> None:
    """Refuse a precision that a device does not have, and warn about one that takes hundreds of times longer there.

    Args:
        precision: Of the products.
        device: Where they are computed.
        key: What the user sets.
        fast_bf16: Whether float32 products stand in for bfloat16 ones on such a processor, at the cost of float32.

    Raises:
        UserError: TensorFloat-32 on the CPU, which has none; either of the faster ones on a GPU that has neither.
    """
    if precision == "tf32" and device.type == "cpu":
        raise no_tensor_float32(key)
    if precision == "bf16" and device.type == "cpu" and not (fast_bf16 or computes_bf16()):
        capability = torch.backends.cpu.get_cpu_capability()
        log.warning("%s=bf16 is very slow on this CPU (%s); %s=32 is faster.", key, capability, key)
    if precision != "32" and device.type == "cuda" and not torch.version.hip:
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) < LEAST_CAPABILITY:
            name = torch.cuda.get_device_name(device)
            raise UserError(
                f"{key}={precision} needs a GPU of compute capability 8.0; {name} has {major}.{minor}.",
                f"Use {key}=32 here.",
            )


def audio_arithmetic(precision: Precision) -> str:
    """Return the name, for identities, of the arithmetic of audio embeddings and scores.

    The audio encoder alone multiplies in less than float32. Text encoders, projections and heads compute in float32:
    they take little of the time, and rounded scores would lie on a grid and depend on their batch.
    """
    return precision if precision == "32" else f"{precision} audio encoder"


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute without gradients in float32 throughout ("32"), or with products in TensorFloat-32 or bfloat16.

    Float32 means float32: TensorFloat-32, which PyTorch uses in CUDA convolutions by default and elsewhere where a
    program switched it on, is off inside unless it is asked for, and as before outside. A GPU is PyTorch's current
    device inside.
    """
    with (
        torch.inference_mode(),
        current_device(device),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
        tensor_float32(precision == "tf32"),
    ):
        yield


def current_device(device: torch.device) -> AbstractContextManager[None]:
    """Make a GPU that is in use the current one of this thread: what asks for none takes no memory of the first one."""
    return torch.cuda.device(device) if device.type == "cuda" and torch.cuda.is_initialized() else nullcontext()


class Padded(NamedTuple):
    """Sequences padded at the end."""

    values: Tensor
    """[batch, longest, dim]."""
    valid: Tensor | None
    """bool [batch, longest], False for padding; None where nothing is padded."""


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Compute in float32 for a while inside `arithmetic`."""
    with torch.autocast(device.type, enabled=False), tensor_float32(False):
        yield


def pad(sequences: Sequence[Tensor]) -> Padded:
    """Stack sequences [length, dim], padded to the longest."""
    lengths = [len(sequence) for sequence in sequences]
    if len(set(lengths)) == 1:
        return Padded(torch.stack(list(sequences)), None)
    values = pad_sequence(list(sequences), batch_first=True)
    counts = torch.tensor(lengths, device=values.device)
    return Padded(values, torch.arange(max(lengths), device=values.device) < counts[:, None])


def join(first: Padded, second: Padded) -> Padded:
    """Put a second sequence behind each first one, whose padding stays between them."""
    values = torch.cat((first.values, second.values), dim=1)
    if first.valid is None and second.valid is None:
        return Padded(values, None)
    return Padded(values, torch.cat((_valid(first), _valid(second)), dim=1))


def _valid(padded: Padded) -> Tensor:
    if padded.valid is not None:
        return padded.valid
    return torch.ones(padded.values.shape[:2], dtype=torch.bool, device=padded.values.device)


def batches_of(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Group indices into batches of at most `size`, near lengths together (little padding), longest first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def near_batches_of(lengths: Sequence[tuple[int, ...]], size: int, *, padding: float) -> Iterator[list[int]]:
    """Group indices into batches of at most `size` in which padding adds at most a share, longest first.

    Args:
        lengths: Of what belongs to an index: one sequence, or several that are each padded to the batch's longest.
        size: Indices in a batch, at most.
        padding: Padded positions for each real one, at most; with 0 nothing is padded.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True):
        together = [*batch, index]
        columns = list(zip(*(lengths[one] for one in together), strict=True))
        padded, real = len(together) * sum(map(max, columns)), sum(map(sum, columns))
        if batch and (len(together) > size or padded > (1 + padding) * real):
            yield batch
            together = [index]
        batch = together
    if batch:
        yield batch


def equal_batches_of(lengths: Sequence[int], size: int, *, most: int | None = None) -> Iterator[list[int]]:
    """Group indices into batches of one length each (no padding), longest first.

    Args:
        lengths: Of the sequences.
        size: Sequences in a batch, at most.
        most: Their lengths in a batch together, at most; a sequence that is longer is alone. None for no limit.
    """
    for length in sorted(set(lengths), reverse=True):
        same = [index for index, other in enumerate(lengths) if other == length]
        step = size if most is None else max(1, min(size, most // max(length, 1)))
        for start in range(0, len(same), step):
            yield same[start : start + step]


def in_batches(batches: Iterable[Sequence[int]], work: Callable[[Sequence[int]], Iterable[Tensor]]) -> list[Tensor]:
    """Return what `work` makes of each sequence, in the order of their indices.

    Args:
        batches: The indices, each once; as from `batches_of`.
        work: Maps a batch of indices to one tensor for each.
    """
    made: dict[int, Tensor] = {}
    for batch in batches:
        made |= zip(batch, work(batch), strict=True)
    return [made[index] for index in range(len(made))]
