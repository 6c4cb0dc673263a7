"""Which process this is, which devices it uses, and whether another one has ended."""

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from cmi_bench.errors import UserError
from cmi_bench.utils import distributed
from cmi_bench.utils.distributed import has_ended, resolve_devices, this_process

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of a machine without a GPU")


@no_gpu
def test_auto_is_the_cpu_where_there_is_no_gpu():
    assert resolve_devices("auto", 1).this_process == "cpu"


@no_gpu
@pytest.mark.parametrize(
    ("devices", "wanted"),
    [([1], "cuda:1"), (-1, "all CUDA devices"), (2, "cuda:0, cuda:1"), ([0, 3], "cuda:0, cuda:3")],
)
def test_a_missing_gpu_is_named_with_what_is_there(devices, wanted):
    with pytest.raises(UserError, match=rf"Asked for {wanted}; this machine has no CUDA device") as error:
        resolve_devices("gpu", devices)
    assert "device=cpu" in error.value.hint


def test_each_rank_gets_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_devices("gpu", [0, 2]).this_process == "cuda:2"
    assert resolve_devices("cuda", -1).selected == [0, 1, 2, 3]
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setenv("SLURM_LOCALID", "1")  # of srun, and of Lightning then
    assert resolve_devices("gpu", [0, 2]).this_process == "cuda:2"
    monkeypatch.setenv("SLURM_LOCALID", "3")  # where each process of srun sees its own GPU only
    assert resolve_devices("gpu", [0]).this_process == "cuda:0"


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


def test_a_process_is_known_from_those_that_have_ended():
    own = this_process()
    assert not has_ended(own)
    with ProcessPoolExecutor(1) as pool:
        other = pool.submit(this_process).result()
    assert other != own
    assert has_ended(other)
    number, start, host = own.split()
    assert has_ended(f"{number} {int(start) - 1} {host}")  # an earlier one with the same number
    assert not has_ended(f"{other.split()[0]} 1 elsewhere")
    assert not has_ended("")


@pytest.mark.parametrize(
    ("device", "visible", "wanted"),
    [("cpu", "", 2), ("cpu_ddp", "", 2), ("cuda", "", 8), ("cuda:1", "", 8), ("cuda", "3", 16), ("cuda", "0,1,2", 10)],
)
def test_a_gpu_has_its_share_of_the_cores_to_decode(device, visible, wanted, tmp_path, monkeypatch):
    for number in range(4):
        (tmp_path / f"gpu{number}").mkdir()
    monkeypatch.setattr(distributed, "NVIDIA_GPUS", tmp_path)
    monkeypatch.setattr(distributed, "cores", lambda: 32)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert distributed.decoders(device) == wanted


@no_gpu
def test_without_a_gpu_two_processes_decode():
    assert distributed.decoders(None) == 2
