"""The process of a command, prepared before anything is loaded."""

import os

import pytest

from cmi_bench.utils.command import SPINS, prepare_process


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
    ids=["unless told otherwise", "as told", "as its policy says"],
)
def test_threads_that_wait_sleep_soon(monkeypatch, given, spins):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    monkeypatch.setattr(os, "environ", environment | given)
    prepare_process()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
