"""Processes that work in turns: one is asked and answers while the others wait, so that all meet the same machine.

What is asked and answered are lines of JSON over the process's stdin and stdout.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmi_bench.errors import UserError

LAST_LINES = 15
"""Of what a process wrote to stderr, when it failed."""
BUSY = """
import os, numpy
parent = os.getppid()
matrix = numpy.random.default_rng(0).random((512, 512))
while os.getppid() == parent:
    matrix @ matrix
"""
"""A program that keeps one core busy, as other people's computations do, until whoever started it is gone."""


class Worker:
    """A process that answers each line of JSON with one.

    Its first line comes unasked, when it is ready. An answer with a key "error" says that it could not, and why.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; `ready` waits for its first line.

        Args:
            name: In messages.
            command: Of the process.
            folder: Where it works.
            environment: Variables besides those of this process.
        """
        self.name = name
        self.started = time.perf_counter()
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    def ready(self) -> dict[str, Any]:
        """Return its first line.

        Raises:
            UserError: It could not start; the message says why.
        """
        return self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return its answer.

        Raises:
            UserError: It failed; the message says why.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone, which its missing answer shows
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            killed = " (killed: for memory?)" if code == -9 else ""
            raise UserError(f"{self.name} ended with exit code {code}{killed}.", self._written())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserError(f"{self.name} failed: {answer['error']}", answer.get("hint") or self._written())
        return answer

    def _written(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().splitlines()[-LAST_LINES:]
        return "\n     ".join(["It wrote:", *lines]) if lines else "It wrote nothing."


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep so many other processes busy, each on one thread, for as long as the context lasts."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    processes = [subprocess.Popen([sys.executable, "-c", BUSY], env={**os.environ, **one_thread}) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
