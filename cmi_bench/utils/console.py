"""Output for people: tables and text on stdout, progress bars on stderr, and how much memory a run took."""

import contextlib
import io
import logging
import re
import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TextIO, TypeVar

from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.text import Text

from cmi_bench.utils.distributed import process_rank
from cmi_bench.utils.files import without_credentials

log = logging.getLogger(__name__)


class RunLog(logging.FileHandler):
    """The handler of `run.log`: where it cannot be written, its lines are lost, and this is said once."""

    _lost = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            super().emit(record)
        except OSError:  # the file cannot be opened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # logging's own name
        """Say that lines are lost; any other error is one of ours, and is shown as such."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._lost:
            self._lost = True
            print_error(f"{self.baseFilename} cannot be written ({error.strerror}): the run goes on without it.")


class ConsoleLog(logging.StreamHandler[TextIO]):
    """The handler of the console: writes to what stderr is at the time, so that messages go above a bar or spinner."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # StreamHandler keeps the one that it was made with
        """Where messages go."""
        return sys.stderr


PLAIN_WIDTH = 80
REDRAW_SECONDS_IN_A_LOG = 15.0
"""Progress that does not go to a terminal (a batch job's log) is a line this seldom."""
PATIENCE_SECONDS = 1.0
"""What is over sooner than this needs no bar."""
BYTES = "B"
"""The unit whose amounts are shown as kB, MB, GB."""

T = TypeVar("T")


_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def printable(text: str) -> str:
    r"""Return text that every page, file and terminal can show.

    Every kind of line end becomes a line feed; control characters, halves of surrogate pairs and noncharacters, which
    XML, HTML or UTF-8 do not allow or a terminal takes for commands, become U+FFFD.

    >>> printable("one\u2028two\x1b[2J") == "one\ntwo\ufffd[2J"
    True
    """
    return _UNPRINTABLE.sub("\ufffd", _LINE_ENDS.sub("\n", text))


SHOWN = 3
"""Names in a message; the others are counted."""


def some_of(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are.

    >>> some_of(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def print_view(view: RenderableType, *, width: int = PLAIN_WIDTH) -> None:
    """Print a table or text on stdout.

    A file or pipe gets it without colours and without spaces at the ends of lines, tables at most `width` wide.
    """
    console = Console()
    if isinstance(view, str):
        console.print(view, markup=False, highlight=False, soft_wrap=True)
    elif console.is_terminal:
        console.print(view)
    else:
        console.print(plain_text(view, width=width), end="", markup=False, highlight=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print an error on stderr, with the process's rank if there are several, and put it into the run's log."""
    rank = process_rank()
    shown = without_credentials(message)
    text = f"[process {rank}] {shown}" if rank else shown
    print(text, file=sys.stderr)  # noqa: T201
    log.debug(text)  # the console shows what is above DEBUG


def plain_text(view: RenderableType, *, width: int = PLAIN_WIDTH) -> str:
    """Return what is shown as plain text of at most `width` columns."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(view)
    # Rich fills lines up with spaces, which nobody wants in a file.
    return "".join(line.rstrip() + "\n" for line in text.getvalue().removesuffix("\n").split("\n"))


_is_silent: ContextVar[bool] = ContextVar("is_silent", default=False)


@contextlib.contextmanager
def silence(wanted: bool = True) -> Iterator[None]:
    """Show no bars and spinners in a block, for a program that has asked for none."""
    token = _is_silent.set(wanted or _is_silent.get())
    try:
        yield
    finally:
        _is_silent.reset(token)


class ProgressBar:
    """How much of a piece of work is done, how fast, and how long the rest will take; on stderr.

    A bar on a terminal, a line now and then elsewhere. Several threads may advance it.
    """

    def __init__(
        self, description: str, total: float, *, unit: str, done: float = 0, patience: float = PATIENCE_SECONDS
    ) -> None:
        """Begin to count; a terminal shows nothing before `patience` seconds are over, a log nothing of short work.

        Args:
            description: What is done, such as "scoring".
            total: How much there is; nothing is ever shown for 0.
            unit: What is counted: "clip", "file", or `BYTES`.
            done: How much of it was done before.
            patience: Seconds.
        """
        self.description = description
        whole = _whole.get()
        self._whole = whole and _Share(whole.bar, whole.worth / total if total else 0.0)
        self.total = 0 if _is_silent.get() or whole else total
        self.unit = unit
        self.remark = ""
        """What is shown behind the amounts, such as ", 3 failed"; may be changed at any time."""
        self.done = done
        self._patience = patience
        self._before = done
        self._began = self._written = time.monotonic()
        self._lock = threading.Lock()
        self._shown: Progress | None = None
        self._is_terminal = sys.stderr.isatty()
        if self._is_terminal and not patience:
            self._show()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def advance(self, amount: float) -> None:
        """Count `amount` more, never beyond the total."""
        if self._whole is not None:
            self._whole.bar.advance(amount * self._whole.worth)
            return
        with self._lock:
            if not self.total:
                return
            self.done = min(self.done + amount, self.total)
            now = time.monotonic()
            if not self._is_terminal:
                if now - self._written >= REDRAW_SECONDS_IN_A_LOG:
                    self._write_line(now)
            elif self._shown is not None:
                self._shown.update(self._shown.task_ids[0], completed=self.done)
            elif now - self._began >= self._patience:
                self._show()

    def close(self) -> None:
        """Leave the last state on the screen, or as the last line of a log; may be called twice."""
        with self._lock:
            now = time.monotonic()
            if self._shown is not None:
                self._shown.stop()
                self._shown = None
            elif not self._is_terminal and self.done > self._before and now - self._began >= PATIENCE_SECONDS:
                self._write_line(now)
                self._before = self.done

    def _show(self) -> None:
        if not self.total:
            return
        # Only stderr is redirected: stdout is for results, and may be a file.
        self._shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _AmountColumn(self),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
        )
        task = self._shown.add_task(self.description, total=self.total)
        self._shown.update(task, completed=self.done)
        self._shown.start()

    def _write_line(self, now: float) -> None:
        self._written = now
        speed = (self.done - self._before) / (now - self._began) if now > self._began else None
        left = f", {(self.total - self.done) / speed / 60:.1f} min left" if speed and self.done < self.total else ""
        print(  # noqa: T201
            f"{self.description}: {describe_amount(self.done, self.total, speed, unit=self.unit)}{self.remark}{left}",
            file=sys.stderr,
            flush=True,
        )


class _Share(NamedTuple):
    """What bars add to another one."""

    bar: ProgressBar
    worth: float
    """In its unit: by all that a bar counts, or by each that it counts."""


_whole: ContextVar[_Share | None] = ContextVar("whole", default=None)


@contextlib.contextmanager
def part_of(bar: ProgressBar | None, worth: float) -> Iterator[None]:
    """Do a part of what a bar counts: bars that begin in the block are not shown, and each advances it by `worth`.

    Args:
        bar: None for bars of their own.
        worth: In the bar's unit.
    """
    token = _whole.set(None if bar is None else _Share(bar, worth))
    try:
        yield
    finally:
        _whole.reset(token)


@contextlib.contextmanager
def share_of_part(share: float) -> Iterator[None]:
    """Do a share, from 0 to 1, of the part that `part_of` speaks of; has no effect outside of one."""
    whole = _whole.get()
    with part_of(whole and whole.bar, whole.worth * share if whole else 0.0):
        yield


class _AmountColumn(ProgressColumn):
    def __init__(self, bar: ProgressBar) -> None:
        super().__init__()
        self.bar = bar

    def render(self, task: Task) -> Text:
        amount = describe_amount(task.completed, task.total or 0, task.speed, unit=self.bar.unit)
        return Text(amount + self.bar.remark)


def describe_amount(done: float, total: float, speed: float | None, *, unit: str) -> str:
    """Return progress in numbers.

    >>> describe_amount(30, 120, 2.5, unit="clip")
    '30/120 clips, 2.5 clips/s'
    >>> describe_amount(30e6, 120e6, None, unit="B")
    '30.0 MB/120.0 MB'
    """
    if unit == BYTES:
        return f"{decimal(int(done))}/{decimal(int(total))}" + (f", {decimal(int(speed))}/s" if speed else "")
    return f"{done:.0f}/{total:.0f} {unit}s" + (f", {speed:.1f} {unit}s/s" if speed else "")


def describe_time(seconds: float) -> str:
    """Return a length of time in words.

    >>> describe_time(40), describe_time(125), describe_time(7300)
    ('40 s', '2 min', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@contextlib.contextmanager
def spinner(description: str, *, is_shown: bool = True) -> Iterator[None]:
    """Show that something goes on of which nobody knows how long it takes; a log gets nothing of it.

    Args:
        description: What goes on, such as "loading torch".
        is_shown: Whether to show it at all.
    """
    if not is_shown or _is_silent.get() or not sys.stderr.isatty() or process_rank():
        yield
        return
    # Of characters that any terminal has. Only stderr is redirected: stdout is for results, and may be a file.
    moving = Spinner("line", description)
    with Live(moving, console=Console(stderr=True), refresh_per_second=12.5, transient=True, redirect_stdout=False):
        yield


class ItemCount:
    """Counts items as they are dealt with."""

    def __init__(self, description: str, *, unit: str = "file") -> None:
        self.description = description
        self.unit = unit

    def __call__(self, items: Iterable[T], total: int) -> Iterator[T]:
        """Pass items on, with a bar that shows how many of `total` there were."""
        with ProgressBar(self.description, total, unit=self.unit) as bar:
            for item in items:
                yield item
                bar.advance(1)


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
