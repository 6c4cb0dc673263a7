"""What a guest in a process leaves as it was; `test_run.py` has the whole."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from cmi_bench.api.guest import as_guest


class Merging(nn.Linear):
    """Merges a part of its weights in evaluation mode, and takes it out again in training mode."""

    def train(self, mode=True):
        if self.training != mode:
            self.weight.data += -1 if mode else 1
        return super().train(mode)


def test_a_network_that_merges_weights_is_taken_apart_again():
    model = nn.Sequential(Merging(1, 1), nn.Dropout())
    before = model[0].weight.clone()
    with as_guest(model):
        assert torch.equal(model[0].weight, before + 1)
    assert torch.equal(model[0].weight, before)
    assert model[1].training


@pytest.mark.slow
def test_a_precision_that_was_set_for_a_backend_is_put_back():
    # Once set so, torch refuses other questions about it for the rest of the process.
    code = """
import torch
from cmi_bench.api.guest import as_guest
matmul = torch.backends.cuda.matmul
matmul.fp32_precision = "tf32"
with as_guest():
    print(matmul.fp32_precision)
print(matmul.fp32_precision)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["ieee", "tf32"]
