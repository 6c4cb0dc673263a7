"""How soon a command says something: a mistake its message, work its first line; the longest silence after that, and
how soon the first score is kept.

`python -m benchmarks.first_output [--repeats 5] [--project FOLDER]`: each command is run in a terminal of its own, as a
person would, the commands one after another and all of them again, so that what else the machine does falls on all.
`--project` measures another checkout, such as an older commit. Results are printed and go to `outputs/bench/`.
"""

import argparse
import json
import os
import platform
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import soundfile
from rich.table import Column, Table

from cmi_bench.utils.console import plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench")
PROJECT = Path(__file__).parents[1]
NOT_SHOWN = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\s")
"""What a terminal is told and nobody sees."""
CMI_BENCH = ("-c", "from cmi_bench.cli.app import app; app()")
"""The installed command, of the checkout that is measured."""


@dataclass(frozen=True)
class Command:
    """What is typed, and what is expected of it."""

    name: str
    words: tuple[str, ...]
    """After `python`."""
    is_mistake: bool = False
    """A mistake must end with exit code 1 or 2, anything else with 0."""
    cache: Path | None = None
    """An empty folder that gets the scores, where they are waited for."""


@dataclass(frozen=True)
class Run:
    """One run of a command; seconds from its start."""

    first: float
    """When something could be read."""
    first_cpu: float
    """Processor seconds until then, which other work on the machine does not make more."""
    score: float | None
    """When a score was kept; None where that was not waited for."""
    score_cpu: float | None
    """Processor seconds until then."""
    silence: float
    """The longest time after that in which nothing was added or redrawn."""
    end: float
    end_cpu: float
    """Processor seconds, of it and the processes it started."""


def mistakes(folder: Path) -> Iterator[Command]:
    """Yield commands of which each has one mistake that is often made."""
    mini = f"run.py data=mini tracking=none data.root={folder}/mini cache=off"
    for name, line in {
        "no data": f"run.py model=signal data.root={folder}/none data.jsonl={folder}/none/all_test.jsonl",
        "no GPU": f"{mini} model=signal +device=cuda:0",
        "limit=-1": f"{mini} +device=cpu model=signal limit=-1",
        "a class that is not there": f"{mini} +device=cpu model=custom model.class_path=my_models:Mine",
        "model=cmi_r": f"{mini} +device=cpu model=cmi_r",
        "a checkpoint that is not there": f"{mini} +device=cpu model=cmi_rm model.checkpoint=./runs/step_500",
        "an unknown key": f"{mini} +device=cpu model=signal limt=1",
        "subset=pamm": f"{mini} +device=cpu model=signal subset=pamm",
        "results that are not there": "run.py task=evaluate results=outputs/nowhere",
    }.items():
        yield Command(name, tuple(line.split()), is_mistake=True)
    words = (*CMI_BENCH, "score", "nowhere.mp3", "--model", "signal")
    yield Command("a song that is not there", words, is_mistake=True)


def work(folder: Path) -> Iterator[Command]:
    """Yield commands that do something, a first run first.

    Args:
        folder: Empty; all that they write goes there.
    """
    mini = f"data=mini data.root={folder}/mini data.jsonl={folder}/mini/all_test.jsonl"
    own = f"+device=cpu cache.dir={folder}/cache"
    tracked = f"{own} tracking.uri=sqlite:///{folder}/mlflow.db tracking.artifacts={folder}/artifacts"
    for name, line in {
        "first run (synthesis)": f"run.py {mini} model=signal {tracked} hydra.run.dir={folder}/first",
        "the same run again": f"run.py {mini} model=signal {tracked} hydra.run.dir={folder}/second",
        "task=conformance": f"run.py task=conformance model=signal {own}",
        "task=evaluate": f"run.py task=evaluate results={folder}/first",
        "task=compare": f"run.py task=compare runs=[{folder}/first,{folder}/second]",
        "task=leaderboard": f"run.py task=leaderboard runs=[{folder}/first]",
        "sweep": f"run.py -m {mini} model=signal,random {tracked} hydra.sweep.dir={folder}/sweep",
        "task=prepare": f"run.py task=prepare {mini} model=signal {own}",
        "task=doctor": f"run.py task=doctor {mini} model=signal {own}",
        "task=list": "run.py task=list",
        "--help": "run.py --help",
    }.items():
        yield Command(name, tuple(line.split()))
    for words in ((), ("score",), ("serve",)):
        yield Command(" ".join(["cmi-bench", *words, "--help"]), (*CMI_BENCH, *words, "--help"))
    for name, words in {"one clip a dataset": "limit=1", "all clips": ""}.items():
        cache = folder / name.replace(" ", "_")
        line = f"run.py {mini} model=signal {tracked} {words} cache.dir={cache} hydra.run.dir={cache}_run"
        yield Command(f"{name}, nothing stored", tuple(line.split()), cache=cache)
    song = folder / "song.wav"
    soundfile.write(song, 0.1 * np.sin(np.arange(24000 * 10) / 20), 24000)
    cache = folder / "songs"
    words = (*CMI_BENCH, "score", str(song), "--model", "signal", "--cache-dir", str(cache))
    yield Command("cmi-bench score", words, cache=cache)


def main() -> None:
    """Measure, print, and write `first_output.json` and `first_output.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--project", type=Path, default=PROJECT, help="The checkout to measure.")
    parser.add_argument("--only", default="", help="Only commands whose names hold this.")
    given = parser.parse_args()
    runs: dict[str, list[Run]] = {}
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as name:
            for command in (*mistakes(Path(name)), *work(Path(name))):
                if given.only in command.name:
                    runs.setdefault(command.name, []).append(_run(command, given.project))
    table = _table(runs)
    print_view(table)
    machine = f"{platform.processor() or platform.machine()}, {cores()} cores, {given.repeats} runs of each"
    document = {"machine": machine, "runs": {name: [asdict(run) for run in done] for name, done in runs.items()}}
    write_text_atomic(OUTPUT / "first_output.json", json.dumps(document, indent=2) + "\n")
    write_text_atomic(OUTPUT / "first_output.txt", f"{machine}\n{plain_text(table)}")
    print_view(f"Results: {OUTPUT.absolute()}")


def _run(command: Command, project: Path) -> Run:
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(project), "TERM": "xterm", "COLUMNS": "120"}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command.words],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown: list[float] = []
    first_cpu = 0.0
    score: tuple[float, float] | None = None
    text = b""
    while True:
        if score is None and command.cache and _has_score(command.cache):
            score = time.monotonic() - started, _processor_seconds(process.pid)
        if not select.select([ours], [], [], POLL_SECONDS)[0]:
            continue
        piece = _read(ours)
        if not piece:
            break
        text += piece
        if shown or NOT_SHOWN.sub(b"", piece):
            first_cpu = first_cpu if shown else _processor_seconds(process.pid)
            shown.append(time.monotonic() - started)
    os.close(ours)
    _, status, usage = os.wait4(process.pid, 0)
    end = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if (process.returncode in (1, 2)) is not command.is_mistake:
        raise SystemExit(f"{' '.join(command.words)} ended with {process.returncode}:\n{text.decode(errors='replace')}")
    steps = [later - earlier for earlier, later in zip(shown, [*shown[1:], end], strict=True)]
    score_seconds, score_cpu = score or (None, None)
    return Run(shown[0], first_cpu, score_seconds, score_cpu, max(steps), end, usage.ru_utime + usage.ru_stime)


POLL_SECONDS = 0.02
"""How often scores are looked for."""


def _has_score(cache: Path) -> bool:
    return any(pack.stat().st_size for pack in cache.glob("scores/**/*.pack"))


def _processor_seconds(pid: int) -> float:
    """Return what a process has used so far, as Linux counts it."""
    # The second field, the program's name in parentheses, may hold anything; the 14th and 15th are ticks.
    ticks = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def _table(runs: dict[str, list[Run]]) -> Table:
    table = Table(
        Column("command", no_wrap=True),
        *(field.name.replace("_", " ") for field in fields(Run)),
        title="Seconds, medians",
    )
    for name, done in runs.items():
        columns = ([getattr(run, field.name) for run in done] for field in fields(Run))
        table.add_row(name, *("" if None in column else f"{statistics.median(column):.2f}" for column in columns))
    return table


if __name__ == "__main__":
    main()
