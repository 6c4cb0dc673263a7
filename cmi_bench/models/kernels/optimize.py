"""The network made fast for inference: the same numbers, with less work and on better kernels.

The modules of `cmi_rm` define the network and take the weights; `prepare` turns them into what is here.

From the network that the weights were loaded into to the one that computes.

A module anew with some of its parts replaced; the module itself stays as it was.

Memory that is used again and again stays with the process.
"""

import ctypes
import platform
from collections.abc import Callable, Mapping
from copy import copy
from functools import cache
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from cmi_bench.models.batching import Precision
from cmi_bench.models.kernels.conformer import FastConvolutionModule, FastFrontend, FastRotarySelfAttention
from cmi_bench.models.kernels.linear import fast_linear
from cmi_bench.models.muq.encoder import ConvFrontend, ConvolutionModule, RotarySelfAttention

Replacement = Callable[[nn.Module], nn.Module]


def rebuild(
    module: nn.Module, move: Callable[[Tensor], Tensor], replacements: Mapping[type[nn.Module], Replacement]
) -> nn.Module:
    """Return the module with its tensors moved and its parts replaced.

    Args:
        module: Left unchanged; tensors that need no moving are shared with it.
        move: Returns a tensor where it is wanted.
        replacements: By type, what makes the replacement from such a part, whose tensors have been moved.
    """
    made: dict[int, nn.Module] = {}

    def anew(part: nn.Module) -> nn.Module:
        if id(part) not in made:
            replace = next((replacements[kind] for kind in type(part).__mro__ if kind in replacements), None)
            made[id(part)] = _copy(part, anew) if replace is None else replace(_copy(part, moved))
        return made[id(part)]

    def moved(part: nn.Module) -> nn.Module:
        return _copy(part, moved)

    def _copy(part: nn.Module, child_of: Callable[[nn.Module], nn.Module]) -> nn.Module:
        new = copy(part)
        new._parameters = {
            name: parameter if parameter is None else nn.Parameter(move(parameter.data), requires_grad=False)
            for name, parameter in part._parameters.items()
        }
        new._buffers = {name: buffer if buffer is None else move(buffer) for name, buffer in part._buffers.items()}
        new._modules = {name: None if child is None else child_of(child) for name, child in part._modules.items()}
        return new

    return anew(module)


Part = TypeVar("Part", bound=nn.Module)

DTYPES: dict[Precision, torch.dtype] = {"32": torch.float32, "bf16": torch.bfloat16}
"""What products are computed in, and their weights held in."""


def prepare(part: Part, device: torch.device, precision: Precision) -> Part:
    """Return a part of the network, or all of it, for inference on a device.

    The same function but for rounding, to be called inside `precision.arithmetic`. The part itself stays as it
    was, on the CPU and in float32; where nothing is changed its tensors are shared, which may be mapped from a file.
    """
    dtype = DTYPES[precision]

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device)

    def linear(layer: nn.Linear) -> nn.Module:
        bias = None if layer.bias is None else layer.bias.to(dtype)
        return cast(nn.Module, fast_linear(layer.weight.to(dtype), bias))

    return cast(
        Part,
        rebuild(
            part,
            move,
            {
                ConvFrontend: lambda front: FastFrontend(cast(ConvFrontend, front), dtype),
                ConvolutionModule: lambda module: FastConvolutionModule(cast(ConvolutionModule, module), dtype),
                RotarySelfAttention: lambda module: FastRotarySelfAttention(cast(RotarySelfAttention, module), dtype),
                nn.Linear: lambda layer: linear(cast(nn.Linear, layer)),
            },
        ),
    )


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of the options in glibc's malloc.h."""
TRIM, MMAP = 2**31 - 1, 2**30
"""Bytes: free memory that is given back to the system; a request that gets a mapping of its own."""


@cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, where it is glibc; once for the process.

    It gives large tensors back to the system at once, which then has to clear each page for the next one: without
    this a tenth of the audio tower's time on the CPU. Peak memory does not change.

    Returns:
        Whether the C library took it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP) and mallopt(M_TRIM_THRESHOLD, TRIM))
