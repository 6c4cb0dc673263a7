"""Jobs side by side: each on a device of its own."""

import os
import subprocess
import sys

TAKE = "from cmi_bench.utils.distributed import _take_device; print(_take_device(2), flush=True); input()"


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", TAKE], env=os.environ | {"TMPDIR": str(folder)}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_device_is_one_process_s_until_it_ends_however_it_ends(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    assert {process.stdout.readline() for process in (first, second)} == {"0\n", "1\n"}
    third = start(tmp_path)
    assert third.stdout.readline() == "None\n"  # they take turns then
    first.kill()
    first.wait()
    fourth = start(tmp_path)
    assert fourth.stdout.readline() in ("0\n", "1\n")
    for process in (second, third, fourth):
        process.kill()
        process.wait()
