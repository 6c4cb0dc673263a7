import subprocess
import sys

import numpy as np
import pytest

from cmi_bench.utils.console import peak_memory


def test_the_peak_rises_with_what_is_used_and_does_not_fall_again():
    before = peak_memory()["process_gb"]
    size = int(1e9 * before) + 10**8
    used = np.ones(size, dtype=np.uint8)
    del used

    assert peak_memory()["process_gb"] >= size / 1e9 > before


@pytest.mark.slow
def test_a_program_that_is_started_does_not_inherit_the_peak():
    used = np.ones(10**9, dtype=np.uint8)
    code = "from cmi_bench.utils.console import peak_memory; print(peak_memory()['process_gb'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    del used

    assert float(found.stdout) < 0.9
