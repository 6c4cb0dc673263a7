"""Products with packed weights against PyTorch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cmi_bench.models.kernels.packed import PackedLinear, can_pack, make_linear

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize("shape", [(7,), (1, 7), (3, 5, 7), (0, 7), (2, 0, 7)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_is_a_linear_layer(shape, biased):
    x, weight, bias = torch.randn(*shape), torch.randn(9, 7), torch.randn(9) if biased else None
    torch.testing.assert_close(PackedLinear(weight, bias)(x), F.linear(x, weight, bias), atol=1e-5, rtol=1e-5)


def test_of_a_view():
    x, weight = torch.randn(6, 14).chunk(2, dim=-1)[1], torch.randn(9, 14).chunk(2, dim=-1)[0]
    torch.testing.assert_close(PackedLinear(weight, None)(x), F.linear(x, weight), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_computes_in_the_precision_of_its_weights(dtype):
    x, weight, bias = torch.randn(4, 7), torch.randn(9, 7), torch.randn(9)
    layer = make_linear(weight.to(dtype), bias.to(dtype))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = layer(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), F.linear(x, weight, bias), atol=0.1, rtol=0.1)


def test_other_types_are_left_to_pytorch():
    assert not can_pack(torch.float64)
    assert isinstance(make_linear(torch.randn(9, 7).double(), None), nn.Linear)
