"""`run.py` in processes of their own that start at once: each is forked off one that has the large libraries loaded.

For tests of what processes do to each other, and of what is left when one is killed. The package itself is imported in
each process anew, as ever. Tests of the start itself, and of processes that a run starts, are better off without.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from command_line import PROJECT

LIBRARIES = ["scipy.stats", "pandas", "torch", "torchaudio", "lightning.pytorch", "hydra"]
"""Eight seconds of a processor; those of them that start no threads."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(LIBRARIES)


class WarmProcess:
    """A function in a process and a session of its own, with what `subprocess.Popen` has for it."""

    def __init__(
        self, work: Callable[..., object], *args: Any, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            work: A function of a module, which the process imports.
            args: Its arguments.
            folder: Working directory; a file in it takes what is printed.
            environment: Its variables; None for those of this process.
        """
        self.output = folder / f"{uuid.uuid4().hex}.printed"
        environment = dict(os.environ if environment is None else environment)
        self._process = _FORKS.Process(target=_work, args=(work, args, folder, environment, self.output))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        """Of the process, and of its session."""

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, or None."""
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        """Return the exit status once there is one.

        Raises:
            TimeoutError: It takes longer than that.
        """
        self._process.join(seconds)
        if self.returncode is None:
            raise TimeoutError(f"process {self.pid} runs longer than {seconds:g} s")
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as the kernel does it."""
        self.send_signal(signal.SIGKILL)

    def printed(self) -> str:
        """Return what it has printed, on both streams."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def finish(self, seconds: float = 900.0) -> str:
        """Wait for the end, which is to be a good one, and return what was printed."""
        status = self.wait(seconds)
        assert status == 0, self.printed()
        return self.printed()

    def left(self) -> list[str]:
        """Return the command lines of processes of its session that still run."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, _, _, session, *_ = (place / "stat").read_text().rpartition(")")[2].split()
                if int(session) == self.pid and state != "Z":
                    found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


def start_run(*words: str, folder: Path, environment: Mapping[str, str] | None = None) -> WarmProcess:
    """Start `run.py` with these words; see `WarmProcess`."""
    return WarmProcess(_run, words, folder=folder, environment=environment)


def start_command(*words: str, folder: Path, environment: Mapping[str, str] | None = None) -> WarmProcess:
    """Start `cmi-bench` with these words; see `WarmProcess`."""
    return WarmProcess(_run_command, words, folder=folder, environment=environment)


def wait_until(is_so: Callable[[], bool], process: WarmProcess) -> None:
    """Return when it is so, or the process is over."""
    while not is_so() and process.poll() is None:
        time.sleep(0.01)


def _run(words: tuple[str, ...]) -> None:
    sys.argv = ["run.py", *words]
    runpy.run_path(str(PROJECT / "run.py"), run_name="__main__")


def _run_command(words: tuple[str, ...]) -> None:
    sys.argv = ["cmi-bench", *words]
    runpy.run_module("cmi_bench", run_name="__main__")


def _work(
    work: Callable[..., object], args: tuple[Any, ...], folder: Path, environment: dict[str, str], output: Path
) -> None:
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.chdir(folder)
    multiprocessing.set_start_method("fork", force=True)  # as in any other process here
    work(*args)
