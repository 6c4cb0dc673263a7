"""Bounded waiting: calls that do not return, and locks that other processes hold."""

import os
import platform
import subprocess
import sys
import threading

import pytest

from cmi_bench.errors import UserError
from cmi_bench.utils.waiting import locked, within

HOLD = """
import sys
from pathlib import Path
from cmi_bench.utils.waiting import locked
with locked(Path(sys.argv[1]), seconds=1, what="holds it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_call_in_time_gives_its_result_or_its_error():
    assert within(5.0, lambda: "result") == "result"
    with pytest.raises(KeyError, match="its own"):
        within(5.0, lambda: {}["its own"])


def test_a_call_that_does_not_return_is_left_behind():
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        within(0.05, threading.Event().wait)


def test_a_lock_of_another_process_names_file_and_holder(tmp_path):
    file = tmp_path / "new/lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(UserError, match=f"process {holder.pid} on {platform.node()}.* writes things") as error,
        locked(file, seconds=0.1, what="writes things"),
    ):
        pytest.fail("two processes hold the lock")
    assert str(file) in error.value.what
    holder.kill()
    holder.communicate()
    with locked(file, seconds=5.0, what="writes things"):
        assert file.read_text() == f"{os.getpid()} {platform.node()}\n"
