"""Commands of either side as a user starts them, from start to end: for `benchmarks.against_public`.

One song: `baselines/inference.py` there, `cmi-bench score` here. A benchmark of pairs as in CMI-Pref, two clips of 30 s
and their reference of 30 s, which two pairs after another share: `inference_benchmark.py` there, `run.py` here. The
public code keeps nothing from command to command; ours is started with nothing kept, and again with what it kept.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from benchmarks.turns import LAST_LINES
from cmi_bench.data import fields
from cmi_bench.errors import UserError
from cmi_bench.models.hub import WEIGHTS

PROJECT = Path(__file__).parents[1]
PREDICTED = [name + side for name in (fields.PREDICTED_ALIGNMENT, fields.PREDICTED_MUSICALITY) for side in ("", "_b")]


@dataclass(frozen=True)
class Command:
    """What one command took."""

    what: str
    seconds: float
    """From its start to its end."""
    processor_seconds: float
    memory_gb: float | None = None
    """Peak of `run.py`, by its `metadata.json`, in 10^9 bytes."""
    scores: list[list[float]] = field(default_factory=list)
    """Of each row of a benchmark alignment a, b, musicality a, b."""


class Setup(NamedTuple):
    """What both sides score with, and how."""

    repository: Path
    """The public one."""
    python: str
    """Its interpreter."""
    checkpoint: Path
    """The folder; the one that holds it has the encoders' configurations."""
    device: str
    precision: str
    environment: Mapping[str, str]
    """Variables of both sides' commands."""


def song_commands(setup: Setup, song: Path, *, seconds: int, text: str, lyrics: str) -> list[Command]:
    """Score one song: the public code's command, ours with nothing kept, and ours again.

    Args:
        setup: The network.
        song: An audio file.
        seconds: Of it that are used.
        text: Its prompt.
        lyrics: Its lyrics.

    Raises:
        UserError: One failed.
    """
    public = (
        *(setup.python, str(setup.repository / "baselines" / "inference.py"), "-c", str(setup.checkpoint / WEIGHTS)),
        *("-a", str(song), "-t", text, "-l", lyrics, "--max_dur", str(seconds), "--device", setup.device),
        *(() if setup.precision == "bf16" else ("--no_bf16",)),
    )
    ours = (
        *(sys.executable, "-m", "cmi_bench", "score", str(song), "--checkpoint", str(setup.checkpoint)),
        *("--text", text, "--lyrics", lyrics, "--max-dur", str(seconds), "--device", setup.device),
        *("--precision", setup.precision, "--cache-dir", str(setup.checkpoint.parent / "cache_song")),
    )
    return [
        _public("baselines/inference.py", public, setup),
        *(
            Command(f"ours, {kept}", *_timed("cmi-bench score", ours, PROJECT, setup.environment))
            for kept in ("nothing kept", "again")
        ),
    ]


def benchmark_commands(setup: Setup, rows: Path) -> list[Command]:
    """Run the benchmark: the public code's, ours with nothing kept, with embeddings kept, and with scores kept.

    Args:
        setup: The network.
        rows: The rows' file, in a folder with their audio.

    Raises:
        UserError: One failed.
    """
    folder = rows.parent / "public"
    public = (
        *(setup.python, str(setup.repository / "inference_benchmark.py"), "-c", str(setup.checkpoint / WEIGHTS)),
        *("--dataset_jsonl", str(rows), "--dataset_root", str(rows.parent), "--output_dir", str(folder)),
        *("--device", setup.device, "--no_run_evaluate"),
        *("--model_init_kwargs_json", json.dumps({"bf16": setup.precision == "bf16"})),
    )
    first = _public("inference_benchmark.py", public, setup)
    ours = {"nothing kept": (), "embeddings kept": ("resume=false",), "scores kept": ()}
    return [
        replace(first, scores=read_scores(folder / "results.jsonl")),
        *(_run(f"ours, {kept}", setup, rows, words) for kept, words in ours.items()),
    ]


def _public(name: str, words: Sequence[str], setup: Setup) -> Command:
    # The public code takes the names in the configurations as folders of where it runs.
    took = _timed(f"The public code's {name}", words, setup.checkpoint.parent, setup.environment)
    return Command("public code", *took)


def _run(what: str, setup: Setup, rows: Path, more: Sequence[str]) -> Command:
    folder = rows.parent / what
    words = (
        *(sys.executable, "run.py", "model=cmi_rm", f"model.checkpoint={setup.checkpoint}", "subset=cmi_pref"),
        *(f"precision={setup.precision}", f"+device={setup.device}", f"data.root={rows.parent}", f"data.jsonl={rows}"),
        *(f"cache.dir={rows.parent / 'cache'}", f"hydra.run.dir='{folder}'", "tracking=none", "metrics.report=false"),
        *("metrics.resamples=0", "on_error=fail", *more),
    )
    took = _timed("run.py", words, PROJECT, setup.environment)
    metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
    return Command(what, *took, float(metadata["memory"]["process_gb"]), read_scores(folder / "results.jsonl"))


def _timed(name: str, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Return seconds by the clock and of processors."""
    before, started = _processor_seconds(), time.perf_counter()
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-LAST_LINES:]
        raise UserError(f"{name} ended with exit code {done.returncode}.", "\n     ".join(["It wrote:", *lines]))
    return seconds, _processor_seconds() - before


def _processor_seconds() -> float:
    """Return those of the processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def read_scores(results: Path) -> list[list[float]]:
    """Return of each row of a `results.jsonl`, the same format on both sides: alignment a, b, musicality a, b."""
    rows = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    return [[row[name] for name in PREDICTED] for row in rows]


def command_table(title: str, commands: Sequence[Command]) -> Table:
    """Return what the commands took, how many times as fast ours are, and how far scores are from the public code's.

    Args:
        title: What they did.
        commands: The public code's first.
    """
    table = Table("", "clock, s", "times", "processor, s", "times", title=f"{title}, from start to end")
    public = commands[0]
    if public.scores:
        table.add_column("memory, GB")
        table.add_column("scores differ by")
    for one in commands:
        cells = [
            one.what,
            f"{one.seconds:.1f}",
            f"{public.seconds / one.seconds:.1f}",
            f"{one.processor_seconds:.1f}",
            f"{public.processor_seconds / one.processor_seconds:.1f}",
        ]
        if one.scores:
            difference = np.abs(np.array(one.scores) - np.array(public.scores)).max()
            cells += ["" if one.memory_gb is None else f"{one.memory_gb:.1f}", f"{difference:.1g}"]
        table.add_row(*cells)
    return table
