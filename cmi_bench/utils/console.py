"""Print on stdout: in colour on a terminal, as plain text elsewhere.

Progress bars of work on files: how many, how much, how fast, how long still.

How much memory a run took.
"""

import io
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from tqdm import tqdm

PLAIN_WIDTH = 80


def print_view(view: RenderableType, *, width: int = PLAIN_WIDTH) -> None:
    """Print a table or text.

    A file or pipe gets it without colours and without spaces at the ends of lines, tables at most `width` wide.
    """
    console = Console()
    if isinstance(view, str):
        console.print(view, markup=False, highlight=False, soft_wrap=True)
    elif console.is_terminal:
        console.print(view)
    else:
        console.print(plain_text(view, width=width), end="", markup=False, highlight=False, soft_wrap=True)


def plain_text(view: RenderableType, *, width: int = PLAIN_WIDTH) -> str:
    """Return what is shown as plain text of at most `width` columns."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(view)
    # Rich fills lines up with spaces, which nobody wants in a file.
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


T = TypeVar("T")

REDRAW_SECONDS_IN_A_LOG = 15.0
"""A bar that is not on a terminal (a batch job's log) is drawn this seldom."""
PATIENCE_SECONDS = 1.0
"""What is over sooner than this needs no bar."""


def bar_settings(description: str) -> dict[str, Any]:
    """Return what all bars have in common."""
    return {
        "desc": description,
        "file": sys.stderr,
        "mininterval": 0.1 if sys.stderr.isatty() else REDRAW_SECONDS_IN_A_LOG,
        "delay": PATIENCE_SECONDS,
        "dynamic_ncols": True,
    }


class FileCount:
    """Counts files as they are dealt with."""

    def __init__(self, description: str) -> None:
        self.description = description

    def __call__(self, items: Iterable[T], total: int) -> Iterable[T]:
        """Pass items on, with a bar that shows how many of `total` there were."""
        return tqdm(items, total=total, unit="file", **bar_settings(self.description))  # type: ignore[no-any-return]


UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts."""
STATUS = Path("/proc/self/status")


def peak_memory() -> dict[str, float]:
    """Return the peaks so far, in 10^9 bytes: this process, the largest of its workers, its graphics processors.

    A process's peak counts files that are mapped, such as weights, as far as they were read.
    """
    peaks = {
        "process_gb": _process_peak(),
        "worker_gb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * UNIT,
    }
    torch = sys.modules.get("torch")  # a process that never loaded it has nothing on a device
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peaks["device_gb"] = max(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))
    return {name: round(size / 1e9, 3) for name, size in peaks.items()}


def _process_peak() -> int:
    # Linux passes `ru_maxrss` on to programs that a process starts; its own peak is in the status.
    lines = STATUS.read_text("utf-8").splitlines() if STATUS.exists() else []
    own = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    return 1024 * own if own is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
