"""Float32 means float32, and settings are as before afterwards."""

import logging

import pytest
import torch

from cmi_bench.models import batching
from cmi_bench.models.batching import arithmetic, warn_if_slow

CPU = torch.device("cpu")


@pytest.fixture
def tf32():
    """A program that asked for TensorFloat-32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_no_tf32_in_float32(tf32):
    with pytest.raises(RuntimeError, match="inside"), arithmetic("32", CPU):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
        assert torch.is_inference_mode_enabled()
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.allow_tf32


def test_bf16():
    with arithmetic("bf16", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_float32_whatever_the_caller_casts_to():
    with torch.autocast("cpu", torch.bfloat16), arithmetic("32", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(("capability", "warned"), [("AVX2", True), ("AVX512", False)])
def test_slow_bf16_is_warned_of(monkeypatch, caplog, capability, warned):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with caplog.at_level(logging.WARNING, batching.__name__):
        warn_if_slow("bf16", CPU)
        warn_if_slow("32", CPU)
    assert ("precision=32" in caplog.text) == warned
