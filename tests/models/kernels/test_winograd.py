"""Fewer multiplications, the same convolution."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cmi_bench.models.kernels.winograd import TILES, WinogradConv, cook_toom

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize("taps", [2, 3, 5])
def test_cook_toom_is_a_filter(taps):
    rng = np.random.default_rng(0)
    algorithm = cook_toom((0.0, 1.0, -1.0, 2.0, -2.0, 0.5)[: taps + 1], taps)
    samples, weights = rng.normal(size=algorithm.inputs.shape[1]), rng.normal(size=taps)
    found = algorithm.outputs @ ((algorithm.weights @ weights) * (algorithm.inputs @ samples))
    np.testing.assert_allclose(found, np.correlate(samples, weights, "valid"), atol=1e-12)


TALL = 2 * TILES
"""So high that a strip is two tiles wide, of four outputs each; with stride two, four."""


def expected(x, weight, bias, stride=(1, 1)):
    return F.conv2d(x.double(), weight.double(), bias.double(), stride, padding=1).float()


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)], ids=str)
@pytest.mark.parametrize(
    "size",
    [(1, 1, 1), (1, 3, 4), (2, 9, 8), (1, 18, 7), (3, TALL, 8), (1, TALL, 9), (1, TALL, 35), (1, 2 * TALL + 3, 9)],
    ids=str,
)
def test_is_a_convolution(size, stride):
    batch, height, width = size
    x, weight, bias = torch.randn(batch, 5, height, width), torch.randn(6, 5, 3, 3) * 0.15, torch.randn(6)
    wanted = expected(x, weight, bias, stride)
    torch.testing.assert_close(WinogradConv(weight, bias, stride)(x), wanted, atol=2e-5, rtol=1e-5)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(WinogradConv(weight, bias, stride)(last), wanted, atol=2e-5, rtol=1e-5)


def test_strips_in_threads_are_strips_in_turn():
    x, convolution = torch.randn(1, 5, TALL, 43), WinogradConv(torch.randn(6, 5, 3, 3), torch.randn(6))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with torch.inference_mode():
                found.append(convolution(x))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)], ids=str)
def test_as_exact_as_direct(stride):
    """With the front end's channels, and a common offset such as rectified values have."""
    x, weight, bias = torch.randn(1, 512, 19, 16).abs() + 1.0, torch.randn(64, 512, 3, 3) * 0.02, torch.zeros(64)
    exact = expected(x, weight, bias, stride)
    direct = (F.conv2d(x, weight, bias, stride, padding=1) - exact).abs().max()
    winograd = (WinogradConv(weight, bias, stride)(x) - exact).abs().max()
    assert winograd < 3 * direct
    assert winograd < 1e-5 * exact.abs().max()
