"""Sequences of several lengths as one padded batch, and back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Padded(NamedTuple):
    """Sequences padded at the end."""

    values: Tensor
    """[batch, longest, dim]."""
    valid: Tensor | None
    """bool [batch, longest], False for padding; None where nothing is padded."""


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
