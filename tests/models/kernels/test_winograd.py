"""Fewer multiplications, the same convolution."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cmi_bench.models.kernels import linear
from cmi_bench.models.kernels.linear import MatmulProducts, PackedProducts
from cmi_bench.models.kernels.winograd import (
    BY_STRIDE,
    DirectConv,
    PackedConv,
    Stride,
    WinogradConv,
    WinogradFilters,
    cook_toom,
    fast_conv,
)

WAYS = {
    "direct": DirectConv,
    "direct, oneDNN": lambda weight, bias, stride: PackedConv(weight, bias, stride, example=(9, 8)),
    "winograd": lambda weight, bias, stride: WinogradConv(WinogradFilters(weight, stride), bias, MatmulProducts),
    "winograd, oneDNN": lambda weight, bias, stride: WinogradConv(
        WinogradFilters(weight, stride), bias, PackedProducts
    ),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("taps", [2, 3, 5])
def test_cook_toom_is_a_filter(taps):
    rng = np.random.default_rng(0)
    algorithm = cook_toom((0.0, 1.0, -1.0, 2.0, -2.0, 0.5)[: taps + 1], taps)
    samples, weights = rng.normal(size=algorithm.inputs.shape[1]), rng.normal(size=taps)
    found = algorithm.outputs @ ((algorithm.weights @ weights) * (algorithm.inputs @ samples))
    np.testing.assert_allclose(found, np.correlate(samples, weights, "valid"), atol=1e-12)


@pytest.mark.parametrize("stride", BY_STRIDE)
def test_three_taps_with_a_stride(stride):
    rng = np.random.default_rng(1)
    axis = BY_STRIDE[stride]
    samples, taps = rng.normal(size=stride * axis.inputs.shape[1]), rng.normal(size=3)
    found = axis.outputs @ sum(
        (axis.weights[phase] @ taps) * (axis.inputs @ samples[phase::stride]) for phase in range(stride)
    )
    np.testing.assert_allclose(found, np.correlate(samples, taps, "valid")[::stride][: len(found)], atol=1e-12)
    assert axis.step == stride


def expected(x, weight, bias, stride):
    image = x.permute(0, 3, 1, 2).double()
    return F.conv2d(image, weight.double(), bias.double(), stride=stride, padding=(0, 1)).permute(0, 2, 3, 1).float()


@pytest.mark.parametrize("size", [(1, 3, 4), (2, 9, 8), (1, 18, 7), (2, 21, 33), (1, 35, 16)], ids=str)
@pytest.mark.parametrize("stride", [Stride(1, 1), Stride(2, 2), Stride(1, 2), Stride(2, 1)], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_is_a_convolution(way, stride, size):
    x, weight, bias = torch.randn(*size, 5), torch.randn(6, 5, 3, 3) * 0.15, torch.randn(6)
    found = WAYS[way](weight, bias, stride)(x)
    torch.testing.assert_close(found, expected(x, weight, bias, stride), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stride", [Stride(1, 1), Stride(2, 2)], ids=str)
def test_as_exact_as_direct(stride):
    """With the front end's channels, and a common offset such as rectified values have."""
    x, weight, bias = torch.randn(1, 19, 16, 512).abs() + 1.0, torch.randn(64, 512, 3, 3) * 0.02, torch.zeros(64)
    exact = expected(x, weight, bias, stride)
    direct, winograd = ((WAYS[way](weight, bias, stride)(x) - exact).abs().max() for way in ("direct", "winograd"))
    assert winograd < 3 * direct
    assert winograd < 1e-5 * exact.abs().max()


def test_of_a_view():
    x, weight = torch.randn(1, 8, 6, 10), torch.randn(4, 5, 3, 3) * 0.15
    half, stride = x.chunk(2, dim=-1)[1], Stride(1, 1)
    for way in WAYS.values():
        found = way(weight, torch.zeros(4), stride)(half)
        torch.testing.assert_close(found, expected(half, weight, torch.zeros(4), stride), atol=1e-5, rtol=1e-5)


def test_chosen(monkeypatch):
    monkeypatch.setattr(linear, "_chosen", {})
    for channels, ways in ((64, set(WAYS)), (8, {"direct"})):
        x, weight, bias = torch.randn(1, 7, 6, channels), torch.randn(64, channels, 3, 3), torch.randn(64)
        found = fast_conv(weight, bias, Stride(1, 1), example=(7, 6))(x)
        torch.testing.assert_close(found, expected(x, weight, bias, 1), atol=1e-3, rtol=1e-4)
        assert linear.choices()[f"3x3 convolution {channels}x64, stride 1x1, torch.float32, cpu"] in ways
