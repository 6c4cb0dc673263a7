"""The best rate that a machine shows for large products: what the audio tower's rate is held against."""

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

FRAMES, WIDTH, WIDER = 750, 1024, 4096
"""Of the product: frames of 30 s, a conformer's feed-forward."""
CHANNELS, HEIGHT, LENGTH = 512, 32, 256
"""Of the 3x3 convolution."""
SECONDS = 0.5
"""How long each is repeated."""


def best_rate(dtype: torch.dtype) -> float:
    """Return the higher rate of a 3x3 convolution of 512 channels and a 750x1024x4096 product by oneDNN: GFLOP/s."""
    return max(_product_rate(dtype), _convolution_rate(dtype))


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
    with torch.inference_mode():
        work()
        best, until = float("inf"), time.perf_counter() + SECONDS
        while (start := time.perf_counter()) < until:
            work()
            best = min(best, time.perf_counter() - start)
    return operations / best / 1e9
