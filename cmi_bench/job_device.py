"""Which of a machine's devices a job of a sweep computes on."""

import os
import tempfile
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

_held: list[FileLock] = []
"""Locks of this process: released when it ends, however it ends."""


def job_device(count: int) -> int:
    """Return the device of this process's jobs; 0 outside of a sweep.

    Jobs side by side are processes of their own, and run one job after the other. Each takes a device that none of
    the others has, of this sweep or another one; where there are more processes than devices, they take turns.

    Args:
        count: How many devices there are.
    """
    job = HydraConfig.get().job if HydraConfig.initialized() else None
    if job is None or OmegaConf.is_missing(job, "num"):
        return 0
    taken = _take_device(count)
    return int(job.num) % count if taken is None else taken


@cache
def _take_device(count: int) -> int | None:
    """Return the first device that no other process has taken; None if all are."""
    # The same number is another device where other devices are visible.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace("/", "_")
    folder = Path(tempfile.gettempdir()) / f"cmi_bench_devices_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for device in range(count):
        lock = FileLock(folder / f"{visible}_{device}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        return device
    return None
