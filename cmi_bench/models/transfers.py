"""Tensors to a GPU and back while it computes: pinned memory, and streams for copies beside the one that computes.

The program runs ahead of the device, so that the next batch is on its way while one is computed. What needs a GPU is
here and nowhere else: `Transfers` is what others see of it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor


class DeviceEvent(Protocol):
    """A place in a device's work."""

    def synchronize(self) -> None:
        """Return when the device has come there."""


class Moment(Protocol):
    """A point of time in a device's work."""

    def seconds_to(self, later: Any) -> float:
        """Return how much later another one is, when the device has come there."""


class Transfers(Protocol):
    """What moves tensors between the CPU and a device."""

    def upload(self, rows: Sequence[Tensor]) -> Tensor:
        """Begin to copy tensors of one shape to the device; what is computed next on the result waits for it.

        Args:
            rows: On the CPU, or on the device.

        Returns:
            On the device, stacked.
        """

    def record_event(self) -> DeviceEvent:
        """Return the place that the device's work ends at now."""

    def fetch(self, tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """Begin to copy tensors to the CPU, once they are computed.

        Returns:
            Waits for them, in any thread, and returns them.
        """


class CudaTransfers:
    """Copies through pinned memory, in streams of their own; of other devices no memory is taken, in any thread."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._inward, self._outward = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def upload(self, rows: Sequence[Tensor]) -> Tensor:
        """Copy on a stream of its own, which the computing stream waits for; see `Transfers`."""
        if rows[0].device.type != "cpu":
            return torch.stack(list(rows)).to(self.device)
        # Torch keeps pinned memory for the next batch, and hands it out when the device has read it.
        pinned = torch.empty((len(rows), *rows[0].shape), dtype=rows[0].dtype, pin_memory=True)
        torch.stack(list(rows), out=pinned)
        with self._on(self._inward):
            there = pinned.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._inward)
        there.record_stream(computing)
        return there

    def record_event(self) -> DeviceEvent:
        """Record an event; who waits for it leaves the processor to others."""
        event = torch.cuda.Event(blocking=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def fetch(self, tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """Copy on a stream of its own, which waits for the computing stream; see `Transfers`."""
        self._outward.wait_stream(torch.cuda.current_stream(self.device))
        with self._on(self._outward):
            # Torch makes the copies in pinned memory.
            copies = [tensor.detach().to("cpu", non_blocking=True) for tensor in tensors]
            for tensor in tensors:
                if tensor.device.type != "cpu":
                    tensor.record_stream(self._outward)
            done = torch.cuda.Event(blocking=True)
            done.record(self._outward)

        def wait() -> list[Tensor]:
            with torch.cuda.device(self.device):
                done.synchronize()
            return copies

        return wait

    @contextmanager
    def _on(self, stream: torch.cuda.Stream) -> Iterator[None]:
        # Without the device, leaving the stream would take memory of the one that is the thread's current one.
        with torch.cuda.device(self.device), torch.cuda.stream(stream):
            yield


class CudaMoment:
    """On a GPU: when its computing stream comes to where it ends now."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.event = torch.cuda.Event(enable_timing=True, blocking=True)
        self.event.record(torch.cuda.current_stream(device))

    def seconds_to(self, later: "CudaMoment") -> float:
        """Return how much later another one is; see `Moment`."""
        with torch.cuda.device(self.device):
            later.event.synchronize()
            return float(self.event.elapsed_time(later.event)) / 1000


class CpuMoment:
    """On the CPU: now."""

    def __init__(self) -> None:
        self.now = time.perf_counter()

    def seconds_to(self, later: "CpuMoment") -> float:
        """Return how much later another one is."""
        return later.now - self.now


def moment_on(device: torch.device) -> Moment:
    """Return the point of time at which a device will be done with what it was given."""
    return CudaMoment(device) if device.type == "cuda" else CpuMoment()


@lru_cache
def transfers_of(device: torch.device) -> Transfers:
    """Return what this process moves tensors to and from a GPU with."""
    return CudaTransfers(device)


def upload(rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return tensors of one shape on a device, stacked; see `Transfers.upload`."""
    return transfers_of(device).upload(rows) if device.type == "cuda" else torch.stack(list(rows)).to(device)


def fetch(tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Begin to copy tensors to the CPU; see `Transfers.fetch`. Those that are there are returned as they are."""
    device = next((tensor.device for tensor in tensors if tensor.device.type == "cuda"), None)
    if device is None:
        here = [tensor.detach().cpu() for tensor in tensors]
        return lambda: here
    return transfers_of(device).fetch(tensors)
