"""Whether float32 products are computed in float32 or in TensorFloat-32: settings of the process, set for a while."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

Value = TypeVar("Value")


@contextmanager
def tensor_float32(on: bool) -> Iterator[None]:
    """Switch TensorFloat-32 on or off for a while, in matrix products and in convolutions.

    Products of bfloat16 are added up in float32 meanwhile, and cuDNN chooses no kernel by timing, by which one run
    would compute unlike another. Afterwards all is as before.

    While several threads compute, such as one for each device of a server, it is on if all of them want it.
    """
    with _changing:
        is_first, was_on = not _wanted, all(_wanted)
        _wanted.append(on)
        if is_first:
            _before.append(_Settings())
        if is_first or all(_wanted) != was_on:  # others compute by them, and are left alone otherwise
            _set(tf32=all(_wanted))
    try:
        yield
    finally:
        with _changing:
            was_on = all(_wanted)
            _wanted.remove(on)
            if not _wanted:
                _before.pop().restore()
            elif all(_wanted) != was_on:
                _set(tf32=all(_wanted))


class _Settings:
    """The settings as they are when it is made."""

    def __init__(self) -> None:
        products = torch.backends.cuda.matmul
        self._operations = [(operation, operation.fp32_precision) for operation in (*_on_gpus(), *_on_cpus())]
        self._matmul = _unless_mixed(torch.get_float32_matmul_precision)
        self._cudnn = _unless_mixed(lambda: torch.backends.cudnn.allow_tf32)
        self._sums = (
            products.allow_bf16_reduced_precision_reduction,
            products.allow_bf16_reduced_precision_reduction_split_k,
        )
        self._benchmark = torch.backends.cudnn.benchmark

    def restore(self) -> None:
        """Set them again."""
        if self._matmul is not None:
            torch.set_float32_matmul_precision(self._matmul)
        if self._cudnn is not None:
            torch.backends.cudnn.allow_tf32 = self._cudnn
        for operation, precision in self._operations:
            operation.fp32_precision = precision
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = self._sums
        torch.backends.cudnn.benchmark = self._benchmark


def _set(*, tf32: bool) -> None:
    # In PyTorch's older way, for what asks in it must find the same; then in its newer one, operation by operation, for
    # the older one leaves convolutions to what a program has set for all of them.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    for operation in _on_gpus():
        operation.fp32_precision = "tf32" if tf32 else "ieee"
    for operation in _on_cpus():
        operation.fp32_precision = "ieee"
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.benchmark = False


def _on_gpus() -> tuple[Any, ...]:
    cudnn: Any = torch.backends.cudnn
    return torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn


def _on_cpus() -> tuple[Any, ...]:
    onednn: Any = torch.backends.mkldnn
    return onednn.matmul, onednn.conv, onednn.rnn


def _unless_mixed(ask: Callable[[], Value]) -> Value | None:
    """Return a setting; None where a program has used the newer way, and PyTorch does not answer in the older."""
    try:
        return ask()
    except RuntimeError:
        return None


_wanted: list[bool] = []
"""Of each block that is being computed, in all threads, whether it may use TensorFloat-32."""
_before: list[_Settings] = []
"""What the first of them found."""
_changing = threading.Lock()
