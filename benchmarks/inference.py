"""How fast CMI-RM scores: the audio tower against plain modules and the machine's best, whole runs cold and warm.

`python -m benchmarks.inference [ROWS]` makes a random network of the released sizes and ROWS pairs of 30 s
with a reference, and takes a quarter of an hour on 2 cores. Results are printed and go to `outputs/bench/`. Machines
are noisy: the ratios, each from one run of this, say more than the seconds.

The whole runs are of `run.py` over rows like CMI-Pref's: cold, warm, in bfloat16, and a sweep.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.tower import TowerSpeed, measure_towers
from benchmarks.whole_commands import read_scores
from benchmarks.workload import write_checkpoints, write_workload
from cmi_bench.tracking.metadata import versions
from cmi_bench.utils.console import plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import write_text_atomic

ALWAYS = (
    "model=cmi_rm",
    "subset=cmi_pref",
    "+device=cpu",
    "tracking=none",
    "metrics.report=false",
    "metrics.resamples=0",
    "on_error=fail",
)


@dataclass(frozen=True)
class Run:
    """What a run, or a sweep, came to."""

    what: str
    command_seconds: float
    """From the start of the process to its end."""
    jobs: list[dict[str, Any]]
    """Each job's `metadata.json`."""
    scores: list[list[float]]
    """Of the first job: [row, (alignment a, b, musicality a, b)]."""

    def seconds(self, name: str) -> float:
        """Return the first job's seconds of "decode", "encode", "head", "write" or "wall" (without starting Python)."""
        return float(self.jobs[0]["seconds"].get(name, 0.0))

    def count(self, name: str) -> int:
        """Return one of the counts in `metadata.json`, over all jobs."""
        return sum(int(job["counts"][name]) for job in self.jobs)

    @property
    def peak_gb(self) -> float:
        """Peak memory of the process that computes, in 10^9 bytes."""
        return max(float(job["memory"]["process_gb"]) for job in self.jobs)


def run(what: str, checkpoints: Sequence[Path], rows: Path, *, cache: Path, folder: Path, words: Sequence[str]) -> Run:
    """Run the benchmark, or with several checkpoints a sweep, in a process of its own.

    Raises:
        subprocess.CalledProcessError: It failed; what it said is on stderr.
    """
    where = f"hydra.sweep.dir={folder}" if len(checkpoints) > 1 else f"hydra.run.dir={folder}"
    command = [
        *(sys.executable, "run.py", *(["-m"] if len(checkpoints) > 1 else []), *ALWAYS, where),
        *(f"data.root={rows.parent}", f"data.jsonl={rows}", f"cache.dir={cache}"),
        f"model.checkpoint={','.join(map(str, checkpoints))}",
        *words,
    ]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    jobs = sorted(path.parent for path in folder.rglob("metadata.json"))
    described = [json.loads((job / "metadata.json").read_text("utf-8")) for job in jobs]
    return Run(what, seconds, described, read_scores(jobs[0] / "results.jsonl"))


def rank_correlation(one: Run, other: Run) -> float:
    """Return Spearman's correlation of two runs' scores, the lower one of alignment and musicality."""
    a, b = (np.array(run.scores).reshape(-1, 2, 2) for run in (one, other))
    return min(float(spearmanr(a[:, task].ravel(), b[:, task].ravel()).statistic) for task in (0, 1))


def largest_difference(one: Run, other: Run) -> float:
    """Return the largest difference of two runs' scores, in standard deviations of the scores."""
    a, b = np.array(one.scores), np.array(other.scores)
    return float(np.abs(a - b).max() / a.std())


OUTPUT = Path("outputs/bench")
ROWS = 16
CHECKPOINTS = 8
SPACE = 5e9
"""Bytes of disk that are needed for a while."""


def main() -> None:
    """Measure, print, and write `inference.json` and `inference.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=ROWS, help="pairs of 30 s with a reference")
    rows = parser.parse_args().rows
    if shutil.disk_usage(tempfile.gettempdir()).free < SPACE:
        sys.exit(f"{tempfile.gettempdir()} needs {SPACE / 1e9:.0f} GB for a while; set TMPDIR to another disk.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints = write_checkpoints(folder / "checkpoints", CHECKPOINTS)
        towers = measure_towers(checkpoints[0])
        runs = _whole_runs(checkpoints, write_workload(folder / "data", rows), folder)
    facts = _facts(towers, runs, rows)
    about = describe_machine()
    views = [_tower_table(towers), _run_table(list(runs.values())), _fact_table(facts)]
    print_view(about)
    for view in views:
        print_view(view)
    document = {
        "machine": about,
        "versions": versions(),
        "towers": [asdict(one) | {"share": one.share} for one in towers],
        "runs": {name: asdict(one) for name, one in runs.items()},
        "facts": facts,
    }
    write_text_atomic(OUTPUT / "inference.json", json.dumps(document, indent=2) + "\n")
    write_text_atomic(OUTPUT / "inference.txt", "\n".join([about, *map(plain_text, views)]))
    print_view(f"Results: {OUTPUT.absolute()}")


def _whole_runs(checkpoints: list[Path], rows: Path, folder: Path) -> dict[str, Run]:
    first, cache, half = checkpoints[:1], folder / "cache", folder / "cache_bf16"

    def measured(what: str, number: int, chosen: list[Path], where: Path, *words: str) -> Run:
        return run(what, chosen, rows, cache=where, folder=folder / f"run{number}", words=words)

    return {
        "cold": measured("nothing cached", 0, first, cache),
        "warm": measured("embeddings cached, scored afresh", 1, first, cache, "resume=false"),
        "stored": measured("scores stored", 2, first, cache),
        "bf16": measured("nothing cached, bf16", 3, first, half, "precision=bf16"),
        "sweep": measured(f"nothing cached, sweep of {len(checkpoints)}", 4, checkpoints, folder / "cache_sweep"),
    }


def _facts(towers: list[TowerSpeed], runs: dict[str, Run], rows: int) -> dict[str, float]:
    of = {(one.kernels, one.precision): one for one in towers}
    fast, fast_half, plain_half = of["on", "32"], of["on", "bf16"], of.get(("off", "bf16"))
    cold, warm = runs["cold"], runs["warm"]
    half = (
        {}
        if plain_half is None
        else {
            "audio tower, bf16: times as fast as plain modules under autocast": plain_half.seconds / fast_half.seconds,
        }
    )
    return half | {
        "audio tower, float32: times as fast as plain modules": of["off", "32"].seconds / fast.seconds,
        "audio tower, float32: share of the best rate": fast.share,
        "audio tower, bf16: share of the best rate": fast_half.share,
        "audio tower: bf16 to float32": fast.seconds / fast_half.seconds,
        "cold to warm, from configuration to scores": cold.seconds("wall") / warm.seconds("wall"),
        "cold to warm, the whole command": cold.command_seconds / warm.command_seconds,
        f"sweep of {CHECKPOINTS} to one, the whole command": runs["sweep"].command_seconds / cold.command_seconds,
        "encodings per row with reference": cold.count("chunks_encoded") / rows,
        "encodings in the sweep to those of one": runs["sweep"].count("chunks_encoded") / cold.count("chunks_encoded"),
        "share of decoding hidden behind encoding": 1 - cold.seconds("wait") / cold.seconds("decode"),
        "bf16 against float32: rank correlation of scores": rank_correlation(cold, runs["bf16"]),
        "bf16 against float32: largest difference, in standard deviations": largest_difference(cold, runs["bf16"]),
        "warm against cold: largest difference, in standard deviations": largest_difference(cold, warm),
        "peak memory, float32, GB": cold.peak_gb,
        "peak memory, bf16, GB": runs["bf16"].peak_gb,
        "peak memory, warm, GB": warm.peak_gb,
    }


def describe_machine() -> str:
    """Return processor, cores, memory, and versions of Python and torch."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    name = next(iter(_cpu_names()), platform.machine())
    return (
        f"{name}, {cores()} cores ({torch.backends.cpu.get_cpu_capability()}), {memory:.0f} GB; Python"
        f" {platform.python_version()}, torch {torch.__version__}"
    )


def _cpu_names() -> list[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]


def _tower_table(towers: list[TowerSpeed]) -> Table:
    table = Table(
        "precision", "kernels", "30 s take", "rate", "best rate", "share", title="Audio tower, one chunk of 30 s"
    )
    for one in towers:
        rates = (f"{one.gflops:.0f} GFLOP/s", f"{one.best_gflops:.0f} GFLOP/s", f"{one.share:.0%}")
        table.add_row(one.precision, one.kernels, f"{one.seconds:.2f} s", *rates)
    return table


def _run_table(runs: list[Run]) -> Table:
    parts = ("decode", "encode", "head", "write", "wall")
    table = Table("run", "command", *parts, "peak memory", title="Whole runs, seconds (the parts of the first job)")
    for one in runs:
        cells = [f"{one.command_seconds:.1f}", *(f"{one.seconds(part):.1f}" for part in parts), f"{one.peak_gb:.1f} GB"]
        table.add_row(one.what, *cells)
    return table


def _fact_table(facts: dict[str, Any]) -> Table:
    table = Table("measured", "")
    for name, value in facts.items():
        table.add_row(name, f"{value:.4g}")
    return table


if __name__ == "__main__":
    main()
