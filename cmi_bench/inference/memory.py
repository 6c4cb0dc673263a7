"""How much memory a run took."""

import resource
import sys
from pathlib import Path

import torch

UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts."""
STATUS = Path("/proc/self/status")


def peak_memory() -> dict[str, float]:
    """Return the peaks so far, in 10^9 bytes: this process, the largest of its workers, its graphics processors.

    A process's peak counts files that are mapped, such as weights, as far as they were read.
    """
    peaks = {
        "process_gb": _process_peak(),
        "worker_gb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * UNIT,
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        peaks["device_gb"] = max(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))
    return {name: round(size / 1e9, 3) for name, size in peaks.items()}


def _process_peak() -> int:
    # Linux passes `ru_maxrss` on to programs that a process starts; its own peak is in the status.
    lines = STATUS.read_text("utf-8").splitlines() if STATUS.exists() else []
    own = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    return 1024 * own if own is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
