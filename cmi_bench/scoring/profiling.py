"""`profile=true`: what operators a few batches of each stage are made of, by PyTorch's profiler.

Lightning's own profiler is not used: it follows one loop, and a run is several, some of them not Lightning's; it names
its files by process and time, and looks at the parts of a LightningModule, of which a reward model is none.
"""

import gzip
import json
import logging
import os
from collections.abc import Callable, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from cmi_bench.scoring.batching import BatchLimits, Runner, ScoreWriter, Stage
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.utils.files import reason_of, replacing, write_text_atomic
from cmi_bench.utils.workspace import workspace

log = logging.getLogger(__name__)

TRACE_FILE, OPERATORS_FILE = "trace.json.gz", "operators.txt"
"""In a run's folder: for Perfetto (ui.perfetto.dev) or chrome://tracing; for people."""
RECORDED = 2
"""Batches of each stage that are recorded, after the first, which also packs weights and fills caches."""
OPERATORS = 20
"""Lines of a table."""
WORKERS = 10**6
"""Number of the track on which a trace has the work of loaders; no process has it."""

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


@runtime_checkable
class _TimedBatch(Protocol):
    """A batch that says how it was loaded, maybe by another process."""

    items: Sized
    doing: str
    started: float
    """Seconds of the epoch."""
    seconds: float


class _Span(NamedTuple):
    """The work of a loader."""

    name: str
    started: float
    seconds: float


@dataclass
class _Recorded:
    """What was recorded of a stage."""

    title: str
    batches: int = 0
    profile: Any = None
    """Of PyTorch; None until a batch was recorded."""
    loads: list[_Span] = field(default_factory=list)


class ProfiledStage(Generic[Item, Loaded]):
    """A stage whose first batches are recorded: the first one for itself, then `RECORDED` more.

    A context manager: what is still being recorded when the stage is over ends there.
    """

    def __init__(self, stage: Stage[Item, Loaded], recorded: _Recorded) -> None:
        self.stage = stage
        self.title, self.start, self.decodes, self.stats = stage.title, stage.start, stage.decodes, stage.stats
        self.load: Callable[[Sequence[Item]], Loaded] = stage.load
        self._recorded = recorded
        self._batches = 0
        self._running: profile | None = None
        self._loads: list[_Span] = []

    def __enter__(self) -> "ProfiledStage[Item, Loaded]":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def pending(self) -> list[Item]:
        """Return what is to be done."""
        return self.stage.pending()

    def length(self, item: Item) -> float:
        """Return an item's length in seconds of audio."""
        return self.stage.length(item)

    def work(self, loaded: Loaded, writer: ScoreWriter) -> None:
        """Do the work on a batch, recorded if it is one of the first."""
        if isinstance(loaded, _TimedBatch) and not loaded.items:  # as where there is nothing to do
            self.stage.work(loaded, writer)
            return
        if self._batches in (0, 1):
            self._begin()
        if self._running is not None and isinstance(loaded, _TimedBatch):
            self._loads.append(_Span(loaded.doing, loaded.started, loaded.seconds))
        self.stage.work(loaded, writer)
        self._batches += 1
        if self._batches in (1, 1 + RECORDED):
            self._stop()

    def _begin(self) -> None:
        with self.stats.timed("profile"):
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_initialized() else [])]
            # On a CPU several threads encode.
            every_thread = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
            self._loads = []
            self._running = profile(activities=activities, experimental_config=every_thread)
            self._before = self._batches
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it remarks on stderr that there is no GPU
            self._running.start()
        self.stats.named = record_function

    def _stop(self) -> None:
        """Keep what was recorded in place of what was before: the first batch counts only if it is the only one."""
        if self._running is None:
            return
        self.stats.named = nullcontext
        with self.stats.timed("profile"):
            self._running.stop()
        done = self._batches - self._before
        if done or self._recorded.profile is None:
            self._recorded.profile, self._recorded.batches, self._recorded.loads = self._running, done, self._loads
        self._running = None


class Profile:
    """Records batches of each kind of stage that a run goes through, each kind once; where it is off, nothing."""

    def __init__(self, *, is_on: bool = True) -> None:
        self.is_on = is_on
        self._recorded: dict[str, _Recorded] = {}

    def stage(self, stage: Stage[Item, Loaded]) -> "ProfiledStage[Item, Loaded] | None":
        """Return a stage that is recorded while it is worked on; None if its kind was recorded before."""
        if stage.title in self._recorded and self._recorded[stage.title].profile is not None:
            return None
        recorded = self._recorded[stage.title] = _Recorded(stage.title)
        return ProfiledStage(stage, recorded)

    def runner(self, runner: Runner) -> Runner:
        """Return a runner that has what it runs recorded."""
        return _ProfilingRunner(runner, self) if self.is_on else runner

    def write(self, folder: Path, stats: RunStats) -> list[Path]:
        """Write the trace and the tables of operators, and return them; nothing where nothing was computed.

        Args:
            folder: For `TRACE_FILE` and `OPERATORS_FILE`.
            stats: Of the run; takes the time.
        """
        if not self.is_on:
            return []
        with stats.timed("profile"):
            try:
                return self._write(folder)
            except (OSError, ValueError) as error:  # PyTorch leaves half a file, or none, on a disk that is full
                reason = reason_of(error) if isinstance(error, OSError) else "what PyTorch wrote is not whole"
                log.warning("The trace cannot be written, in %s and then in %s: %s.", gettempdir(), folder, reason)
                return []

    def _write(self, folder: Path) -> list[Path]:
        found = self._found
        if not found:
            log.warning(
                "profile=true: nothing was computed, so there is no trace; resume=false cache=off computes all."
            )
            return []
        trace = _merged(found)
        with replacing(folder / TRACE_FILE) as file, gzip.open(file, "wt", compresslevel=1, encoding="utf-8") as packed:
            json.dump(trace, packed)
        write_text_atomic(folder / OPERATORS_FILE, "\n".join(map(_table, found)))
        return [folder / TRACE_FILE, folder / OPERATORS_FILE]

    def describe(self, folder: Path) -> str:
        """Return what was written, for people; "" where nothing was."""
        stages = ", ".join(f"{one.title} ({one.batches})" for one in self._found)
        if not stages:
            return ""
        return (
            f"Trace: {folder / TRACE_FILE} (for ui.perfetto.dev), operators: {folder / OPERATORS_FILE}.\n"
            f"Batches of it: {stages}."
        )

    @property
    def _found(self) -> list[_Recorded]:
        return [one for one in self._recorded.values() if one.profile is not None]


class _ProfilingRunner:
    """A runner that has what it runs recorded."""

    def __init__(self, runner: Runner, profile: Profile) -> None:
        self.runner = runner
        self.profile = profile

    @property
    def processes(self) -> int:
        """How many share the work."""
        return self.runner.processes

    def run(self, stage: Stage[Any, Any], writer: ScoreWriter, *, limits: BatchLimits | None = None) -> None:
        """Do all of a stage's work; see `Runner.run`."""
        profiled = self.profile.stage(stage)
        if profiled is None:
            self.runner.run(stage, writer, limits=limits)
            return
        with profiled:
            self.runner.run(profiled, writer, limits=limits)

    def wait(self, reason: str) -> None:
        """Return when all processes have come here."""
        self.runner.wait(reason)


def _merged(found: Sequence[_Recorded]) -> dict[str, Any]:
    """Return one trace, in the format of Chrome's trace events, with a track for the loaders' work."""
    merged: dict[str, Any] = {}
    events: list[dict[str, Any]] = []
    for one in found:
        with workspace() as folder:
            path = folder / "trace.json"
            one.profile.export_chrome_trace(str(path))
            trace = json.loads(path.read_text("utf-8"))
        epoch = trace["baseTimeNanoseconds"] / 1e9
        merged = merged or {key: trace[key] for key in ("schemaVersion", "displayTimeUnit", "baseTimeNanoseconds")}
        events += trace["traceEvents"]
        events += [
            {"ph": "X", "cat": "user_annotation", "name": span.name, "pid": WORKERS, "tid": place,
             "ts": (span.started - epoch) * 1e6, "dur": span.seconds * 1e6}
            for place, span in enumerate(one.loads)
        ]  # fmt: skip
    named = {"ph": "M", "name": "process_name", "pid": WORKERS, "tid": 0, "args": {"name": "loading, beside the model"}}
    return merged | {"traceEvents": [named, *events]}


def _table(one: _Recorded) -> str:
    averages = one.profile.key_averages()
    used_gpu = any(operator.self_device_time_total for operator in averages)
    table = averages.table(sort_by=f"self_{'device' if used_gpu else 'cpu'}_time_total", row_limit=OPERATORS)
    return f"{one.title}: {one.batches} batches\n{table}"
