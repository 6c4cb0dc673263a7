"""What tests of networks begin with."""

import pytest
import torch
from late_device import OTHERS, late_cuda


@pytest.fixture
def seeded():
    """The same random numbers in each test, without gradients."""
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.fixture(params=OTHERS)
def late_gpu(request, monkeypatch):
    """A GPU in the place of CUDA whose streams are ahead of each other, behind, or anywhere."""
    with late_cuda(monkeypatch, request.param) as gpu:
        yield gpu
