"""The evaluation is used by scripts and in notebooks without a GPU stack: it must stay light."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "mlflow", "hydra", "pandas", "scipy.stats", "matplotlib", "transformers")


@pytest.mark.slow
def test_evaluation_and_reporting_import_nothing_heavy():
    code = (
        "import sys, cmi_bench.evaluation.evaluate, cmi_bench.reporting.metrics, cmi_bench.reporting.terminal,"
        "cmi_bench.reporting.html.page;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
