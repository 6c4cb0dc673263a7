"""Which device the tests of CUDA run on: the first GPU, or the CPU, to see that the tests themselves are right."""

import os

import pytest
import torch

ON_THE_CPU = os.environ.get("CMI_BENCH_GPU_TESTS") == "cpu"
"""Whether to run on the CPU what can be run there."""
NEEDED = "needs a CUDA GPU with 4 GB that torch can use; on a machine that has one: make test-gpu"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with what is needed, where there is no GPU."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu") and not (ON_THE_CPU and "device" in getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.skip(reason=NEEDED))


@pytest.fixture
def device() -> torch.device:
    """Where to compute what does not depend on CUDA's own things."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
