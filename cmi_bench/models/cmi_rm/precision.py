"""The arithmetic that scores are computed in."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

from cmi_bench.errors import UserError
from cmi_bench.suggest import did_you_mean

log = logging.getLogger(__name__)

Precision = Literal["32", "bf16"]

CPUS_WITHOUT_BF16 = ("DEFAULT", "AVX2")
"""PyTorch's names of instruction sets on which it multiplies bfloat16 by a slow reference path."""


def checked_precision(name: str) -> Precision:
    """Return the precision named.

    Raises:
        UserError: There is none of that name.
    """
    for precision in get_args(Precision):
        if name == precision:
            return precision  # type: ignore[no-any-return]
    raise UserError(f"There is no precision {name!r}.", did_you_mean(name, get_args(Precision)))


def computes_bf16() -> bool:
    """Tell whether this CPU multiplies bfloat16 by itself."""
    return torch.backends.cpu.get_cpu_capability() not in CPUS_WITHOUT_BF16


def warn_if_slow(precision: Precision, device: torch.device) -> None:
    """Warn where bfloat16 was asked for of a processor that takes hundreds of times longer for it."""
    if precision == "bf16" and device.type == "cpu" and not computes_bf16():
        capability = torch.backends.cpu.get_cpu_capability()
        log.warning("precision=bf16 is very slow on this CPU (%s); precision=32 is faster.", capability)


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute without gradients in float32 throughout ("32"), or with products in bfloat16 ("bf16").

    Float32 means float32: TensorFloat-32, which PyTorch uses in CUDA convolutions by default and in
    matrix products where a program asked for it, is off inside and as before outside.
    """
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        if precision == "bf16":
            yield
            return
        matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul)
            torch.backends.cudnn.allow_tf32 = convolution
