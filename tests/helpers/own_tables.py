"""Tables of one's own in a folder with a few songs: what a user has before the first run."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import soundfile
from pyarrow import parquet

from cmi_bench.config import TableConfig
from cmi_bench.data.own import OwnTable, read_own

SR = 16000


def write_song(path: Path, *, hertz: float = 220.0, noise: float = 0.0, seconds: float = 0.3) -> None:
    """Write a tone, with noise of that amplitude."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(SR * seconds)) / SR
    tone = 0.3 * np.sin(2 * np.pi * hertz * time) + noise * np.random.default_rng(int(hertz)).standard_normal(time.size)
    soundfile.write(path, np.clip(tone, -1, 1), SR, subtype="PCM_16")


def write_table(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as the suffix says; the first one has all columns."""
    suffix = file.suffix
    if suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
    elif suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".json":
        file.write_text(json.dumps(list(rows)))
    else:
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return file


def understood(file: Path, rows: Sequence[dict[str, Any]] = (), *, name: str = "mine", **settings: Any) -> OwnTable:
    """Write a table, where rows are given, and read it."""
    if rows:
        write_table(file, rows)
    return read_own(TableConfig(csv=str(file), **settings), name)


RATERS = {"anna": 0.0, "ben": 0.6, "chloe": -0.4}
"""How much more each of them gives."""


def write_twenty_songs(folder: Path) -> Path:
    """Write twenty songs with more and more noise, and `ratings.csv` with what three raters heard: docs/own-data.md."""
    rng = np.random.default_rng(7)
    rows = []
    for at in range(20):
        song = f"songs/{at + 1:02}.wav"
        write_song(folder / song, hertz=110.0 * (1 + at % 5), noise=0.012 * at, seconds=2.0)
        for rater, offset in RATERS.items():
            rating = float(np.clip(5 - at / 5 + offset + rng.normal(0, 0.7), 1, 5))
            rows.append({"song": song, "prompt": f"a tune of style {at // 2 + 1}", "rating": round(rating, 1),
                         "rater": rater, "genre": ("folk", "techno")[at % 2]})  # fmt: skip
    return write_table(folder / "ratings.csv", rows)
