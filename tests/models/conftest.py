"""What tests of networks begin with."""

import pytest
import torch


@pytest.fixture
def seeded():
    """The same random numbers in each test, without gradients."""
    torch.manual_seed(0)
    with torch.inference_mode():
        yield
