"""What depends on the number of threads: only a process that starts with more of them can tell."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys, torch
from cmi_bench.models.cmi_rm import CmiRM
assert torch.get_num_threads() == 2
model = CmiRM(sys.argv[1], precision="bf16")
assert model.encode_audio([torch.zeros(48000)])[0].isfinite().all()
"""


@pytest.mark.slow
def test_bfloat16_returns_where_a_thread_gets_16_channels(bundle):
    """oneDNN's depthwise convolution did not: the bundle's Conformer has 32 channels."""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", CODE, str(bundle / "sa_mean")], env=environment, check=True, timeout=120)
