"""Which of several ways to compute the same thing is the fastest on this machine: found out by trying."""

import logging
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Way = Callable[[Tensor], Tensor]

ROUNDS = 2
"""Trials of each way, in turns, after one that does not count; the best one counts."""
CLEARLY = 0.9
"""A way is taken instead of one before it if it needs at most this share of its time: near ties go the same way in
every process."""

_chosen: dict[str, str] = {}


def fastest(task: str, makers: Mapping[str, Callable[[], Way]], example: Callable[[], Tensor]) -> Way:
    """Return the fastest way.

    Measured when a task is met for the first time, up to a second for the largest; from then on in this process that
    task goes that way.

    Args:
        task: Says what is computed, shapes and precision included.
        makers: Make the ways by name. All compute the same but for rounding; the first one is the plain one.
        example: Returns what to measure with.
    """
    if task not in _chosen:
        names = list(makers)
        _chosen[task] = names[0] if len(names) == 1 else _measure(makers, example())
        log.debug("%s: %s", task, _chosen[task])
    return makers[_chosen[task]]()


def choices() -> dict[str, str]:
    """Return the way of every task met in this process."""
    return dict(sorted(_chosen.items()))


def _measure(makers: Mapping[str, Callable[[], Way]], example: Tensor) -> str:
    ways = {name: make() for name, make in makers.items()}
    seconds = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode():
        for way in ways.values():
            way(example)
        for _ in range(ROUNDS):
            for name, way in ways.items():
                # Of the processors: a busy machine would tell little about the ways by the clock on the wall. A thread
                # that waits for the others is busy too, so that work which is badly shared out shows.
                start = time.process_time()
                way(example)
                seconds[name] = min(seconds[name], time.process_time() - start)
    taken, *others = ways
    for name in others:
        if seconds[name] <= CLEARLY * seconds[taken]:
            taken = name
    return taken
