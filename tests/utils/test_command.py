"""The process of a command, prepared before anything is loaded."""

import gc
import importlib
import os
import sys
import weakref

import pytest

from cmi_bench.utils.command import SPINS, loading, prepare_process


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


class _Cycle:
    """Only the search for garbage frees it."""

    def __init__(self):
        self.self = self


def test_imports_are_not_searched_for_garbage_and_jobs_after_the_first_are(tmp_path, monkeypatch):
    (tmp_path / "imported_once.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "imported_once", raising=False)
    frozen = gc.get_freeze_count()
    try:
        for is_first in (True, False):
            gc.collect()
            left = weakref.ref(_Cycle())  # of the job before, such as its model
            with loading("nothing much"):
                assert not gc.isenabled()
                importlib.import_module("imported_once")
            assert gc.isenabled()
            gc.collect()
            assert (left() is not None) is is_first
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
