"""`python run.py ...` in this process: all that a user sees, without the seconds of its start."""

import contextlib
import io
import logging
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

PROJECT = Path(__file__).parents[2]


class Done(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def run_command(*words: str, cwd: Path | None = None) -> Done:
    """Run `run.py` with these words.

    Args:
        words: What comes after `python run.py`.
        cwd: Working directory; None leaves it as it is.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.dict(os.environ),
        mock.patch("sys.argv", ["run.py", *words]),
        kept_logging(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = 0
        try:
            runpy.run_path(str(PROJECT / "run.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                err.write(f"{end.code}\n")
    return Done(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def kept_logging() -> Iterator[None]:
    """Undo what Hydra does to the handlers and levels of loggers."""
    names = (None, "cmi_bench", "hydra")
    before = [(logging.getLogger(name), list(logging.getLogger(name).handlers)) for name in names]
    levels = [logger.level for logger, _ in before]
    try:
        yield
    finally:
        for (logger, handlers), level in zip(before, levels, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(level)
