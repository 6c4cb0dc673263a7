"""The benchmark's command of either side over the same rows, as a user starts it: for `benchmarks.against_public`.

Rows are pairs as in CMI-Pref: two clips of 30 s and their reference of 30 s, which two pairs after another share. The
public code keeps nothing from run to run; ours is started with nothing kept, with embeddings kept and with scores kept.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.turns import LAST_LINES
from cmi_bench.data import fields
from cmi_bench.errors import UserError

PREDICTED = [name + side for name in (fields.PREDICTED_ALIGNMENT, fields.PREDICTED_MUSICALITY) for side in ("", "_b")]


@dataclass(frozen=True)
class Command:
    """What one command took."""

    what: str
    seconds: float
    """From its start to its end."""
    processor_seconds: float
    memory_gb: float | None
    """Peak of ours, by its `metadata.json`, in 10^9 bytes."""
    scores: list[list[float]]
    """Of each row alignment a, b, musicality a, b."""


def public_command(
    repository: Path,
    python: str,
    checkpoint: Path,
    rows: Path,
    *,
    device: str,
    precision: str,
    environment: Mapping[str, str],
) -> Command:
    """Run the public benchmark.

    Raises:
        UserError: It failed.
    """
    folder = rows.parent / "public"
    words = (
        *(python, str(repository / "inference_benchmark.py"), "--checkpoint", str(checkpoint / "model.safetensors")),
        *("--dataset_jsonl", str(rows), "--dataset_root", str(rows.parent), "--output_dir", str(folder)),
        *("--device", device, "--no_run_evaluate"),
        *("--model_init_kwargs_json", json.dumps({"bf16": precision == "bf16"})),
    )
    took = _timed("The public code's inference_benchmark.py", words, checkpoint.parent, environment)
    return Command("public code", *took, None, read_scores(folder / "results.jsonl"))


def our_commands(checkpoint: Path, rows: Path, *, device: str, precision: str) -> list[Command]:
    """Run ours with nothing kept, then with embeddings kept, then with scores kept.

    Raises:
        UserError: One failed.
    """
    kinds = {"nothing kept": (), "embeddings kept": ("resume=false",), "scores kept": ()}
    return [
        _our_command(f"ours, {what}", checkpoint, rows, number, (f"precision={precision}", f"+device={device}", *words))
        for number, (what, words) in enumerate(kinds.items())
    ]


def _our_command(what: str, checkpoint: Path, rows: Path, number: int, more: Sequence[str]) -> Command:
    folder = rows.parent / f"ours_{number}"
    words = (
        *(sys.executable, "run.py", "model=cmi_rm", f"model.checkpoint={checkpoint}", "subset=cmi_pref", *more),
        *(
            f"data.root={rows.parent}",
            f"data.jsonl={rows}",
            f"cache.dir={rows.parent / 'cache'}",
            f"hydra.run.dir={folder}",
        ),
        *("tracking=none", "metrics.report=false", "metrics.resamples=0", "on_error=fail"),
    )
    took = _timed("Our run.py", words, Path(__file__).parents[1], {})
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


def command_table(commands: Sequence[Command], pairs: int) -> Table:
    """Return what the commands took, how many times as fast ours are, and how far scores are from the public code's.

    Args:
        commands: The public code's first.
        pairs: How many rows.
    """
    title = f"The benchmark's own commands over {pairs} pairs with references, everything from start to end"
    table = Table("", "clock, s", "times", "processor, s", "times", "memory, GB", "scores differ by", title=title)
    public = commands[0]
    for one in commands:
        difference = np.abs(np.array(one.scores) - np.array(public.scores)).max()
        table.add_row(
            one.what,
            f"{one.seconds:.1f}",
            f"{public.seconds / one.seconds:.1f}",
            f"{one.processor_seconds:.1f}",
            f"{public.processor_seconds / one.processor_seconds:.1f}",
            "" if one.memory_gb is None else f"{one.memory_gb:.1f}",
            f"{difference:.1g}",
        )
    return table
