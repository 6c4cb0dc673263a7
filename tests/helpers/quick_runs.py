"""`run.py` on data that are soon scored: the words of its command line, and what it left."""

import csv
import json
from pathlib import Path
from typing import Any

MODELS = '''
import time
import numpy as np


class Sleeper:
    sr = 16000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        time.sleep(0.2)
        return np.zeros((len(inputs), 2))


class Relative(Sleeper):
    """Looks at the whole batch."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        sizes = np.array([len(open(one.audio, "rb").read()) for one in inputs], dtype=float)
        return np.stack([sizes, sizes / sizes.max()], axis=1)


class Breaks(Sleeper):
    """Fails on one clip."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        if any(one.clip_id == "5:b" for one in inputs):
            raise RuntimeError("boom")
        return np.zeros((len(inputs), 2))


class WrongShape(Sleeper):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.zeros(len(inputs))
'''
"""A module of models of one's own: they take their time, look at the batch, break, or return another shape."""


def mini_words(mini: Path) -> list[str]:
    """Return the words of a quick run on the mini benchmark at this root: nothing cached or tracked, no intervals."""
    data = [f"data.root={mini}", f"data.jsonl={mini}/all_test.jsonl"]
    return ["data=mini", *data, "cache=off", "tracking=none", "metrics.resamples=0", "metrics.report=false"]


def cmi_rm_words(root: Path, cache: Path, checkpoint: Path) -> list[str]:
    """Return the words of a quick run of a small CMI-RM on the parity bundle's rows."""
    return [
        "model=cmi_rm", f"model.checkpoint={checkpoint}", f"data.root={root}", f"data.jsonl={root}/rows.jsonl",
        f"cache.dir={cache}", "tracking=none", "metrics.resamples=0", "metrics.report=false", "workers=0",
    ]  # fmt: skip


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's `results.jsonl`."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().split("\n") if line]


def read_scores(folder: Path) -> list[list[float]]:
    """Return alignment of A and B, musicality of A and B of each pair."""
    names = ("predicted_text-music alignment", "predicted_musicality")
    return [[row[name + side] for name in names for side in ("", "_b")] for row in read_rows(folder)]


def read_summary(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return the lines of `metrics_summary.csv` by dataset and task."""
    with (folder / "metrics_summary.csv").open() as file:
        return {(row["dataset"], row["task"]): row for row in csv.DictReader(file)}
