"""Whatever way a product goes, it is F.linear."""

import pytest
import torch
from torch.nn import functional as F

from cmi_bench.models.kernels import linear
from cmi_bench.models.kernels.linear import WAYS, MatmulProducts, PackedProducts, fast_linear

SHAPES = [((5,), 3, 7), ((2, 37), 65, 17), ((1, 1), 1, 1), ((3, 0), 8, 4), ((0, 5), 8, 4), ((2, 3, 4), 128, 130)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "width_in", "width_out"), SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_odd_shapes(way, rows, width_in, width_out, bias):
    x, weight = torch.randn(*rows, width_in), torch.randn(width_out, width_in)
    shift = torch.randn(width_out) if bias else None
    found = WAYS[way](weight, shift)(x)
    torch.testing.assert_close(found, F.linear(x, weight, shift), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_strided_input(way):
    x, weight = torch.randn(2, 24, 9).mT, torch.randn(5, 24)
    torch.testing.assert_close(WAYS[way](weight, None)(x), F.linear(x, weight), atol=1e-5, rtol=1e-5)


def test_bfloat16():
    x, weight, bias = (torch.randn(*shape).bfloat16() for shape in ((6, 300), (300, 300), (300,)))
    found = fast_linear(weight, bias)(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), F.linear(x.float(), weight.float(), bias.float()), atol=0.2, rtol=1e-2)


def test_chosen(monkeypatch):
    monkeypatch.setattr(linear, "_chosen", {})
    x, weight, bias = torch.randn(10, 300), torch.randn(301, 300), torch.randn(301)
    torch.testing.assert_close(fast_linear(weight, bias)(x), F.linear(x, weight, bias), atol=1e-4, rtol=1e-5)
    fast_linear(weight[:8], bias[:8])
    chosen = linear.choices()
    assert chosen["product 300x301, torch.float32, cpu"] in WAYS
    assert chosen["product 300x8, torch.float32, cpu"] == "linear", "too small to matter"


@pytest.mark.parametrize("products", [MatmulProducts, PackedProducts])
def test_many_products(products):
    wide, weights = torch.randn(3, 11, 9), torch.randn(3, 7, 5)
    for x in (wide[..., :7].contiguous(), wide[..., 2:]):
        out = torch.full((3, 11, 5), torch.nan)
        products(weights)(x, out=out)
        torch.testing.assert_close(out, x @ weights, atol=1e-5, rtol=1e-5)
