"""Waveforms through an encoder: in batches of one length, as many at once as the device computes well."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from cmi_bench.models.batching import Precision, arithmetic, equal_batches_of, in_batches, to_device

CPU_SAMPLES = 30 * 24_000
"""Samples that a CPU encodes in one batch, at most: more is slower there, by 5 %, and takes twice the memory."""


def encode_waveforms(
    waveforms: Sequence[Tensor],
    encode: Callable[[Tensor], Iterable[Tensor]],
    *,
    device: torch.device,
    precision: Precision,
    batch_size: int,
) -> list[Tensor]:
    """Encode waveforms, each by itself; what comes of one does not depend on the others.

    Args:
        waveforms: float32 [samples] each, on the CPU or on the device.
        encode: Maps waveforms of one length [batch, samples], on the device, to one tensor for each; called inside of
            `arithmetic`.
        device: Where to compute.
        precision: Of the products.
        batch_size: Waveforms encoded in one batch, at most.

    Returns:
        What `encode` makes of each, in the order of the waveforms.
    """
    most = CPU_SAMPLES if device.type == "cpu" else None
    with arithmetic(precision, device):
        return in_batches(
            equal_batches_of([len(waveform) for waveform in waveforms], batch_size, most=most),
            lambda batch: encode(to_device(torch.stack([waveforms[index] for index in batch]), device)),
        )
