"""Runs tests on a copy of the tree, each time in a fresh process that has the large libraries loaded already."""

import contextlib
import hashlib
import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.mutants.coverage_map import PACKAGE, CoverageMap, CoverageRecorder, OnlyThese
from benchmarks.mutants.mutations import Mutation

LIBRARIES = ("numpy", "scipy.stats", "pandas", "torch", "torchaudio", "lightning", "hydra", "matplotlib.pyplot")
"""Loaded once, before the first fork: ten seconds that no mutant pays again."""
OPTIONS = ("-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=line")
NO_TESTS = 5
"""pytest's exit status when there was nothing to run."""
START_SECONDS = 40.0
"""What imports and collection may take on a busy machine."""
SLOWER = 6.0
"""A mutant may take this many times as long as its tests did."""
MEMORY = 24 * 2**30
"""Bytes of data that a mutant may ask for."""


@dataclass(frozen=True)
class Result:
    """What came of one mutant."""

    mutation: Mutation
    status: str
    """"killed", "killed by time" or "survived"; "unreached" when no test runs the line."""
    tests: int
    """How many were chosen."""
    seconds: float
    cause: str = ""
    """The first test that failed."""

    @property
    def is_killed(self) -> bool:
        """Whether a test noticed."""
        return self.status.startswith("killed")


class Copy:
    """The tree as it is now, files that git does not ignore, copied to where mutants cannot do harm."""

    def __init__(self, project: Path, scratch: Path) -> None:
        self.project = project
        self.root = scratch / "tree"
        self.scratch = scratch
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=project,
            check=True,
            capture_output=True,
        )
        self._digests: dict[str, bytes] = {}
        for name in sorted(set(listed.stdout.decode().split("\0"))):
            source = project / name
            if name and source.is_file():
                target = self.root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
                self._digests[name] = hashlib.sha256(source.read_bytes()).digest()
        os.environ["OMP_NUM_THREADS"] = "1"
        for library in LIBRARIES:
            importlib.import_module(library)

    def key(self, tests: Sequence[str]) -> str:
        """Return what the coverage of these files and folders of tests depends on, as a digest."""
        matters = (PACKAGE, "conf", "pyproject.toml", "tests/helpers", *tests)
        digest = hashlib.sha256()
        for name, content in self._digests.items():
            if name.startswith(matters) or Path(name).name == "conftest.py":
                digest.update(name.encode() + content)
        return digest.hexdigest()[:16]

    def measure_coverage(self, tests: Sequence[str], target: Path) -> None:
        """Run these files and folders of tests, and save which test reaches which line."""

        def work() -> int:
            recorder = CoverageRecorder(self.root)
            recorder.start()
            options = [option for option in OPTIONS if option != "-x"]
            status = int(pytest.main([*options, *self._folders(), *tests], plugins=[recorder]))
            recorder.result().save(target)
            return status

        status, output = self._in_child(work, cpu_seconds=3600, wall_seconds=7200)
        if not target.exists():
            raise SystemExit(f"The tests cannot be run (status {status}):\n{output}")

    def try_mutation(self, mutation: Mutation, coverage: CoverageMap, budget: float) -> Result:
        """Put a mistake into the copy, run the tests that reach it up to the first failure, and take it out again.

        Args:
            mutation: The mistake.
            coverage: Of the tree without it.
            budget: Seconds of the processor for the tests, as measured without the mistake.
        """
        start = time.monotonic()
        tests = list(_within(coverage.tests_of(mutation), coverage, budget))
        if not tests:
            return Result(mutation, "unreached", 0, 0.0)
        files = list(dict.fromkeys(test.split("::")[0] for test in tests))
        expected = sum(coverage.seconds[test] for test in tests)
        limit = START_SECONDS + SLOWER * expected
        with self._mutated(mutation):
            status, output = self._in_child(
                lambda: int(pytest.main([*OPTIONS, *self._folders(), *files], plugins=[OnlyThese(tests)])),
                cpu_seconds=limit,
                wall_seconds=4 * limit,
            )
        named = {0: "survived", NO_TESTS: "unreached", None: "killed by time"}.get(status, "killed")
        failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return Result(mutation, named, len(tests), time.monotonic() - start, failed[0] if failed else "")

    @contextlib.contextmanager
    def _mutated(self, mutation: Mutation) -> Iterator[None]:
        file = self.root / mutation.path
        # Python trusts a compiled file by the second and the size of its source, and both may be the same.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()
        file.write_text(mutation.source, "utf-8")
        try:
            yield
        finally:
            file.write_text(mutation.original, "utf-8")

    def _folders(self) -> list[str]:
        return [
            "--rootdir",
            str(self.root),
            "-c",
            str(self.root / "pyproject.toml"),
            "--basetemp",
            str(self._home / "t"),
        ]

    @property
    def _home(self) -> Path:
        return self.scratch / "home"

    def _in_child(self, work: Callable[[], int], *, cpu_seconds: float, wall_seconds: float) -> tuple[int | None, str]:
        """Return the exit status (None: it took too long) and the output of work done in a process of its own."""
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir()
        output = self.scratch / "output.txt"
        sys.stdout.flush()
        process = os.fork()
        if not process:
            self._be_child(work, output, cpu_seconds)
        status = _wait(process, wall_seconds)
        with contextlib.suppress(ProcessLookupError):  # servers and workers that a test left behind
            os.killpg(process, signal.SIGKILL)
        return status, output.read_text("utf-8", errors="replace") if output.exists() else ""

    def _be_child(self, work: Callable[[], int], output: Path, cpu_seconds: float) -> None:
        status = 3
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds), int(cpu_seconds) + 1))
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (file, 1), (file, 2)):
                os.dup2(source, target)
            os.chdir(self.root)
            os.environ |= {
                "HOME": str(self._home),
                "XDG_CACHE_HOME": str(self._home),
                "TMPDIR": str(self._home),
                "MPLCONFIGDIR": str(self.scratch / "matplotlib"),
                "PYTHONPATH": str(self.root),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            sys.dont_write_bytecode = True
            sys.path[:] = [str(self.root), *(path for path in sys.path if path not in {"", str(self.project)})]
            for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
                del sys.modules[name]  # their tests import them from the copy
            status = work()
            sys.stdout.flush()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)


def _wait(process: int, wall_seconds: float) -> int | None:
    end = time.monotonic() + wall_seconds
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return (
                None
                if os.WIFSIGNALED(status) and os.WTERMSIG(status) in _OF_LIMITS
                else os.waitstatus_to_exitcode(status)
            )
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


_OF_LIMITS = (signal.SIGXCPU, signal.SIGKILL)


def _within(tests: Sequence[str], coverage: CoverageMap, budget: float) -> Iterator[str]:
    spent = 0.0
    for test in tests:
        spent += coverage.seconds[test]
        if spent > budget and spent > coverage.seconds[test]:
            return
        yield test
