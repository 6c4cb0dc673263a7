"""How much memory a process may take: the machine's, or what its control groups leave; pages of mapped files."""

import sys

import numpy as np
import pytest
from file_pages import resident_bytes

from cmi_bench.utils import memory
from cmi_bench.utils.memory import FilePages, available_memory

GB = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 GB free and no groups; `write` puts further files."""

    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("meminfo", f"MemTotal: 16000000 kB\nMemAvailable: {8 * GB // 1024} kB\n")
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "MOUNT", tmp_path / "fs")
    return write


def test_this_machine():
    assert 10**7 < available_memory() <= sys.maxsize


def test_without_groups(machine):
    assert available_memory() == pytest.approx(8 * GB, rel=1e-6)


def test_nothing_is_known(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "none")
    assert available_memory() == sys.maxsize


@pytest.mark.parametrize("folder", ["", "slurm/", "slurm/job/"], ids=["a container's", "a group's above", "its own"])
def test_version_2(machine, folder):
    machine("cgroup", "0::/slurm/job\n")
    machine("fs/slurm/job/memory.max", "max\n")
    machine(f"fs/{folder}memory.max", f"{3 * GB}\n")
    machine(f"fs/{folder}memory.current", f"{2 * GB}\n")
    machine(f"fs/{folder}memory.stat", f"anon 1\nactive_file 7\ninactive_file {GB // 2}\n")
    assert available_memory() == 1.5 * GB


def test_version_1(machine):
    machine("cgroup", "9:name=systemd:/\n4:cpu,memory:/job\n3:cpuset:/\n0::/\n")
    machine("fs/memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    machine("fs/memory/memory.usage_in_bytes", f"{5 * GB}\n")
    machine("fs/memory/job/memory.limit_in_bytes", f"{4 * GB}\n")
    machine("fs/memory/job/memory.usage_in_bytes", f"{3 * GB}\n")
    machine("fs/memory/job/memory.stat", f"total_inactive_file {GB}\n")
    assert available_memory() == 2 * GB


def test_nothing_is_left(machine):
    machine("cgroup", "0::/\n")
    machine("fs/memory.max", "1000\n")
    machine("fs/memory.current", "2000\n")
    assert available_memory() == 0


NUMBERS = 2**18


@pytest.fixture
def mapped(tmp_path):
    """A file of float32 numbers, mapped so that changes stay with the process."""
    np.arange(NUMBERS, dtype=np.float32).tofile(tmp_path / "numbers")
    return np.memmap(tmp_path / "numbers", dtype=np.float32, mode="c")


def test_pages_of_a_file_are_given_back_and_read_again(mapped):
    total = mapped.sum()
    assert resident_bytes(mapped.filename) == mapped.nbytes
    FilePages().release(mapped[:1000].ctypes.data, 4000)  # not a whole page
    assert resident_bytes(mapped.filename) == mapped.nbytes
    FilePages().release(mapped.ctypes.data, mapped.nbytes)
    assert resident_bytes(mapped.filename) == 0
    assert mapped.sum() == total


def test_changed_pages_of_a_file_stay(mapped):
    mapped[1000] = -1.0
    FilePages().release(mapped.ctypes.data, mapped.nbytes)
    assert mapped[1000] == -1.0


def test_memory_that_is_of_no_file_stays(mapped):
    mapped.sum()
    own = np.ones(NUMBERS)
    FilePages().release(own.ctypes.data, own.nbytes)
    FilePages().release(mapped.ctypes.data, mapped.nbytes + own.nbytes)  # more than the file
    assert own.all()
    assert resident_bytes(mapped.filename) == mapped.nbytes
