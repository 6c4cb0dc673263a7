"""What a command does around its work: a process prepared for it, and mistakes as messages with exit codes.

Rich and Hydra, which take a third of a second to import, are imported where there is something to say: a command's help
is there at once.
"""

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cmi_bench.utils.interrupt import raise_on_interrupt
from cmi_bench.utils.memory import keep_freed_memory

SPINS = "10000"
"""Rounds that a thread of libgomp, PyTorch's, spends looking for work: some 0.1 ms. By default it is 30 times that."""


def prepare_process() -> None:
    """Let a command find modules of the current folder, however Python was started, and draw without a screen.

    Memory that one batch frees is kept for the next. Threads that wait for others sleep soon, unless the
    environment says otherwise: on a busy machine one that keeps looking takes the core from the one it waits for.
    A process that ends does not look for garbage in what it has imported: with torch and Lightning that takes 2 s.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    # A notebook's kernel hands down a backend that need not be installed here, and Matplotlib refuses to be imported.
    os.environ["MPLBACKEND"] = "agg"
    keep_freed_memory()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when libgomp is loaded
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage inside.

    Of the time that large imports take it is a fifth, and there is next to none.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def loading(libraries: str) -> Iterator[None]:
    """Import libraries, in a command, under a spinner.

    What they are made of stays for good, and is not looked through for garbage again.

    Args:
        libraries: Their names, for people.
    """
    from cmi_bench.utils.console import spinner

    before = len(sys.modules)
    with spinner(f"loading {libraries}"), without_collection():
        yield
        # Of several jobs in one process only the first imports: what it left is not to be kept by the second.
        if len(sys.modules) > before:
            gc.freeze()


@contextlib.contextmanager
def explain_errors(kept: str = "What was written so far is kept in the run's folder.") -> Iterator[None]:
    """Turn a user's mistake into one message on stderr and exit code 1; Ctrl-C into exit code 130.

    Args:
        kept: What is left when the user stops the work.
    """
    # Hydra would print and swallow errors itself; this makes it hand them to us as they are.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    raise_on_interrupt()
    try:
        yield
    except BrokenPipeError:  # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        from cmi_bench.utils.console import print_error

        print_error(f"Stopped. {kept}")
        raise SystemExit(130) from None
    except Exception as error:
        from cmi_bench.hydra_errors import SHOW_TRACEBACK, explain
        from cmi_bench.utils.console import print_error

        message = explain(error)
        if message is None or os.environ.get(SHOW_TRACEBACK):
            raise
        print_error(message)
        raise SystemExit(1) from error
