"""Whole runs of `run.py` over a CMI-Pref-shaped workload: cold, warm, in bfloat16, and a sweep."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from cmi_bench.data import fields

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
        """Return the first job's seconds of "decode", "encode", "score" or "wall" (without starting Python)."""
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
    return Run(what, seconds, described, _scores(jobs[0] / "results.jsonl"))


def rank_correlation(one: Run, other: Run) -> float:
    """Return Spearman's correlation of two runs' scores, the lower one of alignment and musicality."""
    a, b = (np.array(run.scores).reshape(-1, 2, 2) for run in (one, other))
    return min(float(spearmanr(a[:, task].ravel(), b[:, task].ravel()).statistic) for task in (0, 1))


def largest_difference(one: Run, other: Run) -> float:
    """Return the largest difference of two runs' scores, in standard deviations of the scores."""
    a, b = np.array(one.scores), np.array(other.scores)
    return float(np.abs(a - b).max() / a.std())


def _scores(results: Path) -> list[list[float]]:
    rows = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    names = [name + side for name in (fields.PREDICTED_ALIGNMENT, fields.PREDICTED_MUSICALITY) for side in ("", "_b")]
    return [[row[name] for name in names] for row in rows]
