"""Scoring as a guest in somebody else's process, such as a training loop: what it changes is put back.

Networks are in evaluation mode while they score, and afterwards in the mode that each part had. Random numbers are the
run's own. Scores do not depend on whether the caller computes under autocast or with TF32.
"""

import contextlib
import os
import random
import threading
from collections.abc import Iterator

import numpy as np
import torch

from cmi_bench.models.in_memory import networks_of

SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
"""Environment variables in which Lightning keeps a seed."""
_ONE_AT_A_TIME = threading.RLock()
"""Seeds and modes are the process's: of several threads, one waits for the other."""


@contextlib.contextmanager
def as_guest(model: object | None = None) -> Iterator[None]:
    """Leave the process as it was, also where the block raises.

    Args:
        model: What scores, if it is the caller's: its networks are in evaluation mode meanwhile.
    """
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        stack.enter_context(_random_state())
        stack.enter_context(_full_precision())
        # Lightning validates in it, and what a network keeps from there could not be trained with.
        stack.enter_context(torch.inference_mode(False))
        if model is not None:
            stack.enter_context(_evaluation_mode(model))
        yield


@contextlib.contextmanager
def _evaluation_mode(model: object) -> Iterator[None]:
    networks = networks_of(model)
    modes = {part: part.training for network in networks for part in network.modules()}
    trained = {one: one.requires_grad for network in networks for one in network.parameters()}
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        for network in networks:  # some networks merge weights in the one mode, and take them apart in the other
            if network.training != modes[network]:
                network.train(modes[network])
        for part, mode in modes.items():
            part.training = mode
        for parameter, requires_grad in trained.items():
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)


@contextlib.contextmanager
def _random_state() -> Iterator[None]:
    environment = {name: os.environ.get(name) for name in SEEDS}
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        for index, state in enumerate(gpus):
            torch.cuda.set_rng_state(state, index)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(_full_products())
        yield


@contextlib.contextmanager
def _full_products() -> Iterator[None]:
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # who has set it for a backend by itself may not ask for all of them any more
        matmul = torch.backends.cuda.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = before
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
