"""Waveforms through an encoder: in batches of one length, as many at once as the device computes well."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cmi_bench.models.batching import Precision, arithmetic, equal_batches_of, in_batches
from cmi_bench.models.memory import BatchFit, is_out_of_memory
from cmi_bench.models.threads import in_threads
from cmi_bench.models.transfers import DeviceEvent, Transfers, transfers_of
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.memory import available_memory

log = logging.getLogger(__name__)

CPU_SAMPLES = 10 * 24_000
"""Samples that one thread of a CPU encodes in one batch, at most: with more it is no faster, and takes more memory."""
SAMPLE_BYTES = 1_500
"""Memory that MuQ takes for each sample encoded at a time on a CPU, at most (30 s: 805 by one thread, 1,160 by two)."""
MEMORY_PART = 0.5
"""Of the free memory, what pieces encoded at once may take; the rest is for what decodes and stores beside them."""
AHEAD = 2
"""Batches that are handed to a GPU before the first of them is done; more would only take its memory."""

Encode = Callable[[Tensor], Iterable[Tensor]]
"""Maps waveforms of one length [batch, samples], on the device, to one tensor for each."""


def fit_of(encoder: nn.Module, arithmetic: str, device: torch.device) -> BatchFit:
    """Return how much an encoder is given at once on a device, which is found as it computes."""
    size = sum(parameter.numel() for parameter in encoder.parameters())
    return BatchFit(f"{type(encoder).__name__} of {size:,} parameters, {arithmetic}", device)


def encode_waveforms(
    waveforms: Sequence[Tensor],
    encode: Encode,
    *,
    device: torch.device,
    precision: Precision,
    batch_size: int,
    fit: BatchFit,
    folder: Path | None = None,
) -> list[Tensor]:
    """Encode waveforms, each by itself; what comes of one does not depend on the others.

    Args:
        waveforms: float32 [samples] each, on the CPU or on the device.
        encode: Called inside of `arithmetic`; on a CPU in several threads at once.
        device: Where to compute.
        precision: Of the products.
        batch_size: Waveforms encoded in one batch, at most.
        fit: On a GPU, how many samples are.
        folder: Where that is kept from run to run; None for nowhere.

    Returns:
        What `encode` makes of each, in the order of the waveforms; on a GPU it may still be at it.
    """
    with arithmetic(precision, device):
        if device.type == "cuda":
            fit.keep_in(folder)
            return encode_ahead(waveforms, encode, transfers_of(device), batch_size=batch_size, fit=fit)
        return encode_in_threads(waveforms, encode, batch_size=batch_size)


def encode_in_threads(waveforms: Sequence[Tensor], encode: Encode, *, batch_size: int) -> list[Tensor]:
    """Encode on the CPU, several pieces at once as far as there is memory for them; see `encode_waveforms`."""
    lengths = [len(waveform) for waveform in waveforms]
    batches = list(equal_batches_of(lengths, batch_size, most=CPU_SAMPLES))
    samples = [sum(lengths[index] for index in batch) for batch in batches]

    def encode_batch(batch: Sequence[int]) -> list[Tensor]:
        return list(encode(torch.stack([waveforms[index] for index in batch])))

    encoded = iter(in_threads(encode_batch, batches, sizes=samples, at_once=_at_once(max(samples, default=0))))
    return in_batches(batches, lambda _: next(encoded))


def _at_once(samples: int) -> int:
    """Return how many pieces of so many samples there is memory for; warn where there may not be enough for one.

    A process that computes on a part of the cores takes such a part of the memory: others compute on the rest.
    """
    free, wanted = available_memory(), SAMPLE_BYTES * max(samples, 1)
    if wanted > free:  # the system would end the process without a word
        log.warning(
            "Encoding %d samples in one piece takes up to %.1f GB of memory, and %.1f GB are free: a lower max_dur"
            " makes pieces shorter.",
            samples,
            wanted / 1e9,
            free / 1e9,
        )
    part = min(1.0, torch.get_num_threads() / cores())
    return int(MEMORY_PART * part * free / wanted)


def encode_ahead(
    waveforms: Sequence[Tensor], encode: Encode, transfers: Transfers, *, batch_size: int, fit: BatchFit
) -> list[Tensor]:
    """Encode on a device that is handed the next batch while it computes one; see `encode_waveforms`.

    A batch that does not fit into its memory is halved, and so are all after it.
    """
    lengths = [len(waveform) for waveform in waveforms]
    made: dict[int, Tensor] = {}
    queued: deque[DeviceEvent] = deque()
    for equal in equal_batches_of(lengths, max(len(lengths), 1)):
        length, start = lengths[equal[0]], 0
        while start < len(equal):
            batch = equal[start : start + fit.count(length, batch_size)]
            try:
                made |= zip(
                    batch, _encode_batch([waveforms[i] for i in batch], encode, transfers, queued, fit), strict=True
                )
            except Exception as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
            else:
                start += len(batch)
                continue
            # Outside of the handler: its traceback would keep the tensors of the failed attempt in memory.
            fit.too_large(length * len(batch))
    return [made[index] for index in range(len(waveforms))]


def _encode_batch(
    rows: Sequence[Tensor], encode: Encode, transfers: Transfers, queued: deque[DeviceEvent], fit: BatchFit
) -> list[Tensor]:
    samples = sum(map(len, rows))
    is_timed = fit.is_trial(samples)
    _wait(queued, 0 if is_timed else AHEAD - 1)
    start = time.perf_counter()
    made = list(encode(transfers.upload(rows)))
    queued.append(transfers.record_event())
    if is_timed:
        _wait(queued, 0)
    fit.took(samples, time.perf_counter() - start)
    return made


def _wait(queued: deque[DeviceEvent], most: int) -> None:
    """Wait until at most so many batches are not done."""
    while len(queued) > most:
        queued.popleft().synchronize()
