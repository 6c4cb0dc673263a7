"""Several pieces of work at once on the CPU, each by its share of the threads: no piece waits for another's threads.

PyTorch cuts each operation into parts, one for each thread, and waits for the last of them, thousands of times for a
piece of audio. On a busy machine one of the threads is often not running. A piece that one thread computes waits for
nobody.
"""

import contextvars
import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Generic, NamedTuple, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

NEAR = 0.8
"""Pieces of work are done at once where the smallest is at least this part of the largest, so that none waits long."""


class Round(NamedTuple):
    """Pieces that one set of workers does, each taking the next when it is done with one."""

    pieces: list[int]
    """Their indices."""
    workers: int


def plan_rounds(sizes: Sequence[float], workers: int) -> Iterator[Round]:
    """Put pieces of work into rounds, the largest first.

    In a round there are so many workers that each of them does as many pieces as the others, all of about one size:
    as many workers as are allowed, or as many as there are pieces left that are that large.

    Args:
        sizes: How much work each piece is.
        workers: At most.
    """
    left = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    while left:
        near = sum(sizes[index] >= NEAR * sizes[left[0]] for index in left)
        count = min(workers, near)
        there = near - near % count
        yield Round(left[:there], count)
        left = left[there:]


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, sizes: Sequence[float], at_once: int
) -> list[Result]:
    """Do work on each item, several at once, with as many threads in all as this thread may compute with.

    Args:
        work: Called in several threads at once, under this one's inference mode and autocast.
        items: What to work on.
        sizes: How much work each is.
        at_once: How many at once, at most.

    Returns:
        What comes of each, in the order of the items.

    Raises:
        BaseException: What `work` raised first; no other item is begun then. What interrupts this thread also
            interrupts the others, between two of their operations.
    """
    threads, modes = torch.get_num_threads(), modes_of_this_thread()
    results: dict[int, Result] = {}

    def work_on(piece: int) -> Result:
        with modes():
            return work(items[piece])

    for pieces, workers in plan_rounds(sizes, max(1, min(at_once, threads))):
        if workers == 1:
            results |= {piece: work(items[piece]) for piece in pieces}
        else:
            results |= Crew(work_on, pieces, workers=workers, threads=threads // workers).run()
    return [results[index] for index in range(len(items))]


def modes_of_this_thread() -> Callable[[], AbstractContextManager[None]]:
    """Return what enters, in another thread, the inference mode and the autocast on the CPU that this one is in."""
    is_inference, dtype = torch.is_inference_mode_enabled(), torch.get_autocast_dtype("cpu")
    is_autocast = torch.is_autocast_enabled("cpu")

    @contextmanager
    def modes() -> Iterator[None]:
        with torch.inference_mode(is_inference), torch.autocast("cpu", dtype, enabled=is_autocast):
            yield

    return modes


WAKE_SECONDS = 0.5
"""How long Python may wait at a time: a Ctrl-C in the moment before a wait is seen after it."""


class Worker(threading.Thread):
    """A thread that says itself when it has ended: a `join` that is interrupted takes it for ended (Python 3.11)."""

    def __init__(self, work: Callable[[], None]) -> None:
        """Take what to do, which raises nothing."""
        # A daemon: an interpreter that ends does not wait for it.
        super().__init__(target=contextvars.copy_context().run, args=(work,), name="crew", daemon=True)
        self.ended = threading.Event()

    def run(self) -> None:
        """Work."""
        try:
            with suppress(Interrupted):
                super().run()
        finally:
            self.ended.set()

    def interrupt(self) -> None:
        """Raise `Interrupted` between two operations, where it has begun and not ended."""
        if self.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(Interrupted))


class Interrupted(BaseException):
    """Ends a worker; no `Exception`, so that work which catches those ends too."""


class Crew(Generic[Result]):
    """Workers that take pieces of work from one queue."""

    _starting = threading.Lock()

    def __init__(self, work: Callable[[int], Result], pieces: Sequence[int], *, workers: int, threads: int) -> None:
        """Prepare.

        Args:
            work: What to do with a piece.
            pieces: Each once.
            workers: How many at once.
            threads: PyTorch's threads of each.
        """
        self._work = work
        self._pieces = iter(pieces)
        self._taking = threading.Lock()
        self._threads = threads
        self._ready = threading.Barrier(workers + 1)
        self._results: dict[int, Result] = {}
        self._errors: list[BaseException] = []
        self._workers = [Worker(self._take_pieces) for _ in range(workers)]

    def run(self) -> dict[int, Result]:
        """Do the work, and return what comes of each piece.

        Raises:
            BaseException: What was raised first.
        """
        try:
            self._start()
            for worker in self._workers:
                while not worker.ended.wait(WAKE_SECONDS):
                    pass
        except BaseException:
            self._interrupt()
            raise
        finally:
            # Errors know the frames they went through, so whoever keeps one keeps the tensors of its piece.
            errors, self._errors = self._errors, []
        try:
            if errors:
                raise errors[0]
        finally:
            errors.clear()
        return self._results

    def _start(self) -> None:
        """Start the workers; afterwards new threads get as many threads of PyTorch's as this one has, as before."""
        # `torch.set_num_threads` is about the thread that calls it and about those that have not computed yet.
        with Crew._starting:
            threads = torch.get_num_threads()
            try:
                for worker in self._workers:
                    worker.start()
                self._ready.wait()
            finally:
                torch.set_num_threads(threads)

    def _interrupt(self) -> None:
        """End the workers, and wait for that."""
        self._ready.abort()
        started = [worker for worker in self._workers if worker.ident is not None]
        for worker in started:
            worker.interrupt()
        for worker in started:
            while worker.is_alive() and not worker.ended.wait(1.0):  # interrupted before it could say that it ends
                pass

    def _take_pieces(self) -> None:
        try:
            torch.get_num_threads()  # at its first use a thread takes the process's number, over one set before
            torch.set_num_threads(self._threads)
            self._ready.wait()
            while (piece := self._next()) is not None:
                self._results[piece] = self._work(piece)
        except BaseException as error:  # raised again in the thread that waits
            self._errors.append(error)

    def _next(self) -> int | None:
        with self._taking:
            return None if self._errors else next(self._pieces, None)
