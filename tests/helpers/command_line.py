"""`python run.py ...` in this process, which spares the seconds of a start: all of it, the task, the configuration."""

import contextlib
import io
import logging
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from cmi_bench.config import Config
from cmi_bench.hydra_setup import register
from cmi_bench.main import call_task
from cmi_bench.task_config import checked
from cmi_bench.utils.installation import conf_folder

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


def composed(*words: str, hydra: bool = False) -> DictConfig:
    """Compose the real configuration with these words.

    Args:
        words: Overrides, as on the command line.
        hydra: Keep Hydra's own part.
    """
    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", list(words), return_hydra_config=hydra)


def configured(*words: str) -> Config:
    """Return the checked configuration that a task gets."""
    return checked(composed(*words))


def run_task_here(*words: str, folder: Path) -> None:
    """Run the task that these words name; the errors for users come out as they are.

    Args:
        words: Overrides, as on the command line.
        folder: Where the outputs go.
    """
    cfg = composed(*words, f"hydra.run.dir={folder}", hydra=True)
    with open_dict(cfg):
        cfg.hydra.mode = RunMode.RUN
        cfg.hydra.runtime.output_dir = str(folder)
    HydraConfig.instance().set_config(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    with open_dict(cfg):
        del cfg["hydra"]
    call_task(cfg, folder)


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
