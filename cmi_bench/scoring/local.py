"""Stages in this process and without Lightning, which takes longer to load than a few songs take to score."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import torch

from cmi_bench.scoring.batching import BatchLimits, ScoreWriter, Stage, plan_batches
from cmi_bench.utils.console import ProgressBar

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class LocalRunner:
    """Plans, loads and works as Lightning's predict loop does with a stage; threads decode ahead of the model."""

    processes = 1

    def __init__(
        self,
        limits: BatchLimits,
        *,
        workers: int,
        show_progress: bool,
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Say how.

        Args:
            limits: How large batches may get.
            workers: Threads that decode while the model works; 0 decodes in between.
            show_progress: Whether to draw a bar on stderr.
            on_batch: Told after each batch how many of a stage's items are done.
        """
        self.limits = limits
        self.workers = workers
        self.show_progress = show_progress
        self.on_batch = on_batch

    def run(self, stage: Stage[Any, Any], writer: ScoreWriter, *, limits: BatchLimits | None = None) -> None:
        """Do all of a stage's work; see `Runner.run`."""
        pending = stage.pending()
        plan = plan_batches(pending, limits or self.limits, length=stage.length, start=stage.start)
        # A first batch can take a minute: who waits for it shall see that something is done.
        bar = ProgressBar(stage.title, len(pending) if self.show_progress else 0, unit="clip", patience=0)
        # A model written for Lightning's predict loop need not switch gradients off. Not in inference mode: what a
        # network keeps of it (a table of positions) could not be trained with afterwards.
        done = 0
        with (
            bar,
            closing(self._loaded(plan, stage.load)) as batches,
            torch.no_grad(),
        ):
            for batch, loaded in zip(plan, stage.stats.waiting(batches), strict=True):
                stage.work(loaded, writer)
                bar.advance(len(batch))
                done += len(batch)
                self.on_batch(done)
                if writer.stopped:
                    break

    def wait(self, reason: str) -> None:
        """There is nobody to wait for."""

    def _loaded(
        self, plan: Sequence[Sequence[Item]], load: Callable[[Sequence[Item]], Loaded]
    ) -> Generator[Loaded, None, None]:
        """Yield the plan's batches, loaded; at most `workers` of them ahead, so that memory has a bound."""
        if not self.workers or len(plan) < 2:
            yield from map(load, plan)
            return
        pool = ThreadPoolExecutor(self.workers)
        ahead: deque[Future[Loaded]] = deque()
        try:
            for batch in plan:
                ahead.append(pool.submit(load, batch))
                if len(ahead) > self.workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # of a stopped run, what nobody waits for
            pool.shutdown(cancel_futures=True)
