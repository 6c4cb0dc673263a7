"""Which devices a run uses, checked against what the machine has."""

import os
from dataclasses import dataclass

import torch

from cmi_bench.errors import UserError

ALL = -1
"""Lightning's word for every device there is."""


@dataclass(frozen=True)
class Devices:
    """The devices of a run, as Lightning and torch want them said."""

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
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if accelerator not in {"gpu", "cuda"}:
        count = len(devices) if isinstance(devices, list) else max(devices, 1)
        return Devices(accelerator, count, accelerator)
    indices = _gpu_indices(devices)
    return Devices("gpu", indices, f"cuda:{indices[local_rank]}")


def _gpu_indices(devices: int | list[int]) -> list[int]:
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    indices = devices if isinstance(devices, list) else list(range(there if devices == ALL else devices))
    if indices and all(index < there for index in indices):
        return indices
    wanted = "all CUDA devices" if devices == ALL else ", ".join(f"cuda:{index}" for index in indices)
    advice = "Use one of those, or +device=cpu." if there else "Use +device=cpu, or check the driver with nvidia-smi."
    raise UserError(f"Asked for {wanted}; this machine has {_present(there)}.", advice)


def _present(there: int) -> str:
    if there:
        return ", ".join(f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(there))
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return f"no CUDA device that torch {torch.__version__} ({built}) can use"
