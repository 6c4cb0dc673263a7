"""How many operations an encoder takes, and how many a device does: what a share of its best rate is made of."""

import contextlib
import json
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch.nn import functional as F

from cmi_bench.models.batching import Precision, arithmetic, computes_bf16
from cmi_bench.models.kernels.prepare import rebuild
from cmi_bench.models.muq.towers import AudioTower
from cmi_bench.utils.files import content_key, write_text_atomic

log = logging.getLogger(__name__)


def tower_operations(tower: AudioTower, samples: int) -> int:
    """Count the operations on a chunk, a multiplication and an addition as two; nothing is computed.

    Args:
        tower: Of plain modules; faster kernels may do with fewer operations. Its spectrogram is not counted.
        samples: The chunk's length.
    """
    from torch.utils.flop_counter import FlopCounterMode  # a tenth of a second, at the end of long runs

    shapes = cast(AudioTower, rebuild(tower, lambda tensor: torch.empty_like(tensor, device="meta"), {}))
    mel = torch.empty(1, shapes.muq.mel.filters.shape[1], samples // shapes.muq.mel.hop_length, device="meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        shapes.encode_mel(mel)
    return int(counter.get_total_flops())


FRAMES, WIDTH, WIDER = 750, 1024, 4096
"""Of a product on the CPU: frames of 30 s, a conformer's feed-forward."""
CHANNELS, HEIGHT, LENGTH = 512, 32, 256
"""Of a 3x3 convolution there."""
SQUARE = 8192
"""Rows and columns of a product on a GPU."""
RATE_SECONDS = 0.2
"""How long each is repeated."""


def best_rate(device: torch.device, precision: Precision) -> float:
    """Return the rate of large products in 10^9 operations a second: what this device can do, busy as it is.

    No data sheet's figure, which says what no program reaches, and of other clocks and models.

    Args:
        device: On the CPU with as many threads as this process has; the better of a 3x3 convolution of 512 channels
            and a product [750, 1024] x [1024, 4096] by oneDNN. On a GPU a product of square matrices.
        precision: Of the products.
    """
    with arithmetic(precision, device), torch.autocast(device.type, enabled=False):
        if device.type != "cpu":
            return _gpu_rate(device, precision)
        # A CPU without bfloat16 products computes them by float32 ones.
        dtype = torch.bfloat16 if precision == "bf16" and computes_bf16() else torch.float32
        return max(_product_rate(dtype), _convolution_rate(dtype))


def _gpu_rate(device: torch.device, precision: Precision) -> float:
    x = torch.randn(SQUARE, SQUARE, dtype=torch.bfloat16 if precision == "bf16" else torch.float32, device=device)

    def multiply() -> None:
        torch.mm(x, x)
        torch.cuda.synchronize(device)

    return _rate(2 * SQUARE**3, multiply)


def _product_rate(dtype: torch.dtype) -> float:
    x = torch.randn(FRAMES, WIDTH, dtype=dtype)
    weight = torch.ops.mkldnn._reorder_linear_weight(torch.randn(WIDER, WIDTH, dtype=dtype), None)
    operations = 2 * FRAMES * WIDTH * WIDER
    return _rate(operations, lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))


def _convolution_rate(dtype: torch.dtype) -> float:
    x = torch.randn(1, CHANNELS, HEIGHT, LENGTH, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    operations = 2 * 9 * CHANNELS * CHANNELS * HEIGHT * LENGTH
    return _rate(operations, lambda: F.conv2d(x, weight, padding=1))


def _rate(operations: float, work: Callable[[], object]) -> float:
    work()
    best, until = float("inf"), time.perf_counter() + RATE_SECONDS
    while (start := time.perf_counter()) < until:
        work()
        best = min(best, time.perf_counter() - start)
    return operations / best / 1e9


def kept_best_rate(device: torch.device, precision: Precision, folder: Path | None) -> float:
    """Return the best rate that was ever measured on such a device, now included: others may have it busy now.

    Args:
        device: See `best_rate`.
        precision: See `best_rate`.
        folder: Where rates are kept, by device, threads, precision and version of PyTorch; None for nowhere.
    """
    rate, name = best_rate(device, precision), device_name(device)
    if folder is None:
        return rate
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    key = content_key(device=name, threads=threads, precision=precision, torch=torch.__version__)
    file = folder / f"rate_{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none is kept
        rate = max(rate, float(json.loads(file.read_text("utf-8"))["gflops"]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(file, json.dumps({"gflops": rate, "device": name, "threads": threads}) + "\n")
    except OSError as error:  # it is measured again by the next run
        log.debug("The device's rate is not kept: %s", error)
    return rate


def device_name(device: torch.device) -> str:
    """Return what a device is: the GPU's name, or the processor's with its instruction set."""
    if device.type != "cpu":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.machine())} ({torch.backends.cpu.get_cpu_capability()})"
