"""From a composed configuration to a finished task, with messages instead of tracebacks."""

import contextlib
import gc
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig

from cmi_bench.config import checked
from cmi_bench.hydra_errors import explain
from cmi_bench.sweeps.jobs import sweep_place
from cmi_bench.sweeps.record import allow_children, fingerprint, recorded_job, was_finished
from cmi_bench.utils.distributed import process_rank

log = logging.getLogger(__name__)

SHOW_TRACEBACK = "CMI_BENCH_TRACEBACK"
"""Environment variable that brings the tracebacks back, for those who develop."""


@contextlib.contextmanager
def explain_errors(kept: str = "What was written so far is kept in the run's folder.") -> Iterator[None]:
    """Turn a user's mistake into one message on stderr and exit code 1; Ctrl-C into exit code 130.

    Args:
        kept: What is left when the user stops the work.
    """
    # Hydra would print and swallow errors itself; this makes it hand them to us as they are.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except BrokenPipeError:  # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        _say(f"Stopped. {kept}")
        raise SystemExit(130) from None
    except Exception as error:
        message = explain(error)
        if message is None or os.environ.get(SHOW_TRACEBACK):
            raise
        _say(message)
        raise SystemExit(1) from error


def run_task(cfg: DictConfig) -> None:
    """Run the task that the configuration names; its outputs go to Hydra's run folder.

    In a single run a user's mistake ends the process here; in a sweep it is said, and the other jobs go on.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode == RunMode.RUN:
        with explain_errors():
            get_method(cfg.task_function)(checked(cfg), folder)
    else:
        with _say_errors():
            _run_job(cfg, folder)


def _run_job(cfg: DictConfig, folder: Path) -> None:
    """Run a job of a sweep, unless it was finished when the sweep ran before."""
    key, overrides = fingerprint(cfg), HydraConfig.get().overrides.task
    place = sweep_place()
    said = f"Job {place.number}, {place.label}" if place else f"Job {folder.name}"
    if cfg.resume and was_finished(folder, overrides, key):
        log.info("%s: finished before (resume=false runs it again)", said)
        return
    log.info("%s", said)
    # Lightning's loops and the model refer to each other: without this, the models of earlier jobs stay in memory.
    gc.collect()
    allow_children()
    with recorded_job(folder, overrides, key):
        get_method(cfg.task_function)(checked(cfg), folder)


@contextlib.contextmanager
def _say_errors() -> Iterator[None]:
    """Say at once why a job of a sweep failed; the others go on, and the sweep fails at the end."""
    try:
        yield
    except Exception as error:
        message = explain(error)
        if message is None or os.environ.get(SHOW_TRACEBACK):
            message = "".join(traceback.format_exception(error))
        _say(message)
        _let_go(error)
        raise


def _let_go(error: BaseException) -> None:
    """Empty the frames that an error came through: Hydra keeps it to the sweep's end, and with them the model."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def _say(message: str) -> None:
    """Print an error, and put it into the run's log."""
    rank = process_rank()
    text = f"[process {rank}] {message}" if rank else message
    print(text, file=sys.stderr)  # noqa: T201
    log.debug(text)  # the console shows what is above DEBUG
