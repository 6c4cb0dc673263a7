"""Which of a run's processes this is, and which devices the run uses; known before torch or Lightning is loaded."""

import ctypes
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from cmi_bench.errors import UserError, did_you_mean


def process_rank() -> int:
    """Return this process's rank: 0 for the only process or the first.

    Launchers say it in the environment: `RANK` (torchrun), `SLURM_PROCID` (srun), or `LOCAL_RANK`
    (Lightning, for the processes it starts).
    """
    return next((int(os.environ[name]) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK") if os.environ.get(name)), 0)


def this_process() -> str:
    """Return what tells this process from every other one, also from a later one with its number."""
    return f"{os.getpid()} {_started(os.getpid())} {platform.node()}"


def has_ended(process: str) -> bool:
    """Tell whether a process, as `this_process` named it, was one of this machine and is no more."""
    pid, _, rest = process.partition(" ")
    started, _, host = rest.partition(" ")
    return pid.isdecimal() and host == platform.node() and _started(int(pid)) != started


def is_running(process: str) -> bool:
    """Tell whether a process, as `this_process` named it, is one of this machine and still runs."""
    pid, _, rest = process.partition(" ")
    started, _, host = rest.partition(" ")
    return pid.isdecimal() and host == platform.node() and _started(int(pid)) == started


def end_without(process: str) -> None:
    """End this process, a loader's worker, if the process that started it has ended.

    PyTorch's workers look for their parent's number when they have begun, and end when it changes. One whose parent
    was killed before that would wait for work for ever.

    Args:
        process: The parent, as its `this_process` named it before.
    """
    if has_ended(process):
        os._exit(1)


def _started(pid: int) -> str:
    """Return when a process started, in the system's own count; "-" where there is no such process."""
    try:
        # The second field, the program's name in parentheses, may hold anything; the 3rd is the state, the 22nd the
        # start. A process that has ended and that nobody has asked about (Z) is no more.
        state, *others = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return "-" if state == "Z" else others[18]
    except (OSError, IndexError, ValueError):
        return _running(pid)


def _running(pid: int) -> str:
    """As `_started`, where the system has no `/proc`: only whether it runs."""
    if Path("/proc/self/stat").exists():
        return "-"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "-"
    except OSError:  # somebody else's
        return "?"
    return "?"


def is_rank_zero() -> bool:
    """Whether this process is the one that speaks, merges and tracks."""
    return process_rank() == 0


ALL = -1
"""Lightning's word for every device there is."""


@dataclass(frozen=True)
class Devices:
    """The devices of a run, by the names that Lightning and torch give them."""

    accelerator: str
    """Lightning's name: "cpu", "gpu", ..."""
    selected: int | list[int]
    """Lightning's `devices`: a count, or the indices of GPUs."""
    this_process: str
    """Torch device of this process, such as "cpu" or "cuda:1"."""

    @property
    def count(self) -> int:
        """How many processes on this machine, one a device."""
        return self.selected if isinstance(self.selected, int) else len(self.selected)


def resolve_devices(accelerator: str, devices: int | list[int]) -> Devices:
    """Find the devices that `trainer.accelerator` and `trainer.devices` ask for.

    Args:
        accelerator: "cpu", "gpu" (or "cuda"), "auto" (a GPU if there is one), or another of Lightning's.
        devices: A count (-1: all), or indices of GPUs.

    Raises:
        UserError: A device that is not there; says what was asked for and what there is.
    """
    import torch  # not at the top: the configuration needs this module, and looking at it no torch

    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    if accelerator not in {"gpu", "cuda"}:
        count = len(devices) if isinstance(devices, list) else max(devices, 1)
        return Devices(accelerator, count, accelerator)
    indices = _gpu_indices(devices)
    return Devices("gpu", indices, f"cuda:{indices[_rank_here() % len(indices)]}")


def _rank_here() -> int:
    """Return this process's rank among those of this machine: as `process_rank`, of torchrun, Lightning or srun."""
    return next((int(os.environ[name]) for name in ("LOCAL_RANK", "SLURM_LOCALID") if os.environ.get(name)), 0)


def devices_of(device: str) -> Devices:
    """Return the one device of a process.

    >>> devices_of("cuda:1")
    Devices(accelerator='gpu', selected=[1], this_process='cuda:1')

    Args:
        device: By torch's name.
    """
    kind, _, index = device.partition(":")
    return Devices("gpu", [int(index or 0)], device) if kind == "cuda" else Devices(kind, 1, device)


def _gpu_indices(devices: int | list[int]) -> list[int]:
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    indices = devices if isinstance(devices, list) else list(range(there if devices == ALL else devices))
    if indices and all(index < there for index in indices):
        return indices
    advice = "Use one of those, or device=cpu." if there else "Use device=cpu, or check the driver with nvidia-smi."
    raise UserError(f"Asked for {_describe_wanted(devices)}; this machine has {_describe_machine(there)}.", advice)


def check_driver(accelerator: str, devices: int | list[int]) -> None:
    """Check that a GPU that is asked for has a driver: what `resolve_devices` would find, without importing torch.

    Raises:
        UserError: There is no driver.
    """
    if accelerator not in {"gpu", "cuda"} or _has_gpu_driver():
        return
    what = f"Asked for {_describe_wanted(devices)}; this machine has no CUDA device: no driver is installed."
    raise UserError(what, "Use device=cpu, or install the driver.")


def _has_gpu_driver() -> bool:
    """Whether a library or device file of NVIDIA's or AMD's driver is there."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists() or sys.platform == "win32"
    return True


def _describe_wanted(devices: int | list[int]) -> str:
    if devices == ALL:
        return "all CUDA devices"
    return ", ".join(f"cuda:{index}" for index in (devices if isinstance(devices, list) else range(devices)))


def _describe_machine(there: int) -> str:
    import torch

    if there:
        return ", ".join(f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(there))
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return f"no CUDA device that torch {torch.__version__} ({built}) can use"


DEVICES = {
    "cpu": "One process on the CPU.",
    "cpu_ddp": "Two processes on the CPU: what runs on several GPUs, tried without one.",
    "cuda": "All GPUs of the machine, one process each.",
    "cuda:0": "One GPU by its number.",
}
"""What `device=` may be, each with a sentence for lists."""


def device_option(option: str, device: str | None) -> str | int | list[int]:
    """Return an argument of Lightning's Trainer for a device by its name: the resolver `${device_option:}`.

    >>> [device_option(option, "cuda:1") for option in ("accelerator", "devices", "strategy")]
    ['gpu', [1], 'auto']

    Args:
        option: "accelerator", "devices" or "strategy".
        device: One of `DEVICES`, or "cuda:" and any number; None for a GPU if there is one.

    Raises:
        UserError: There is no such device name.
    """
    named: dict[str | None, tuple[str, int | list[int], str]] = {
        None: ("auto", 1, "auto"),
        "cpu": ("cpu", 1, "auto"),
        "cpu_ddp": ("cpu", 2, "ddp"),
        "cuda": ("gpu", ALL, "auto"),
    }
    if device in named:
        found = named[device]
    elif number := re.fullmatch(r"cuda:(\d+)", str(device)):
        found = ("gpu", [int(number[1])], "auto")
    else:
        name = str(device).replace("gpu", "cuda")  # Lightning's name, which is near to "cpu"
        raise UserError(f"There is no device={device}.", did_you_mean(name, DEVICES))
    return found[("accelerator", "devices", "strategy").index(option)]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


FEWEST_DECODERS, MOST_DECODERS = 2, 16
"""Processes that decode for a device: two keep up with a CPU's encoding, sixteen with that of the fastest GPUs."""
NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver has an entry for each GPU."""


def decoders(device: str | None) -> int:
    """Return how many processes decode for each device of a run: the resolver `${decoders:}`.

    Args:
        device: As of `device_option`.

    Returns:
        On the CPU a few; for a GPU the cores that there are for each GPU of the machine, within bounds.
    """
    if device is None:
        device = "cuda" if _has_gpu_driver() else "cpu"
    if not str(device).startswith("cuda"):
        return FEWEST_DECODERS
    gpus = len(list(NVIDIA_GPUS.iterdir())) if NVIDIA_GPUS.is_dir() else 1
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = min(gpus, len(visible.split(","))) if visible else gpus
    return min(max(cores() // max(gpus, 1), FEWEST_DECODERS), MOST_DECODERS)


_held: list[FileLock] = []
"""Locks of this process: released when it ends, however it ends."""


def job_device(count: int) -> int:
    """Return the device of this process's jobs; 0 outside of a sweep.

    Jobs side by side are processes of their own, and run one job after the other. Each takes a device that none of
    the others has, of this sweep or another one; where there are more processes than devices, they take turns.

    Args:
        count: How many devices there are.
    """
    # The evaluation imports this module, and needs no Hydra.
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    job = HydraConfig.get().job if HydraConfig.initialized() else None
    if job is None or OmegaConf.is_missing(job, "num"):
        return 0
    taken = _take_device(count)
    return int(job.num) % count if taken is None else taken


@cache
def _take_device(count: int) -> int | None:
    """Return the first device that no other process has taken; None if all are."""
    # The same number is another device where other devices are visible.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace("/", "_")
    folder = Path(tempfile.gettempdir()) / f"cmi_bench_devices_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for device in range(count):
        lock = FileLock(folder / f"{visible}_{device}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        return device
    return None
