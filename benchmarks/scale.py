"""How time and memory grow with the number of requests: a thousand to a million over a few short files.

`python -m benchmarks.scale [ROWS ...]`: for each size a run, the same run again, `task=evaluate` on its results and on
those of pairs, and `cmi-bench score --out`, anew and again. Each is a process of its own, with intervals, report page
and MLflow as they come, and a model that costs nothing, so that what is measured is everything else. Results are
printed and go to `outputs/bench/` as they are made: a million takes an hour or two, and 3 GB of disk for a while.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from rich.box import SIMPLE
from rich.table import Table

from cmi_bench.utils.console import plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench")
PROJECT = Path(__file__).parents[1]
SIZES = (1_000, 10_000, 100_000, 1_000_000)
FILES, SR, SECONDS = 8, 8000, 0.25
"""Of audio: how many, at which rate in Hz, and how long."""
RATED, PAIRS = "PAM", "cmi-arena-annotation"
"""Sources of rows with mean opinion scores, and of pairs."""
SYSTEMS = 8
ROWS_A_PROMPT = 4
"""Of pairs."""
CMI_BENCH = ("-c", "from cmi_bench.cli.app import app; app()")
"""The installed command, of this checkout."""


class Trivial:
    """A model that looks at nothing but names: two numbers from a digest of the audio's name and the prompt."""

    sr = SR
    identity = "benchmarks.scale:Trivial"

    def score_batch(
        self, inputs: Sequence[Any], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.float64]:
        """Return [N, 2] in [0, 1)."""
        names = [hashlib.sha256(f"{Path(one.audio).name}\n{one.text}".encode()).hexdigest() for one in inputs]
        return np.array([[int(name[:8], 16), int(name[8:16], 16)] for name in names], dtype=np.float64) / 2**32


TRIVIAL = ("model=custom", "model.class_path=benchmarks.scale:Trivial")


@dataclass(frozen=True)
class Measured:
    """What a command took."""

    what: str
    rows: int
    cpu_seconds: float
    """Of the processor, in this process and those it started."""
    seconds: float
    """By the clock."""
    peak_mb: float
    """Largest resident memory of one process, in 10^6 bytes."""
    disk_mb: float
    """What it left on the disk, in 10^6 bytes."""
    page_mb: float | None
    """Size of the report page, in 10^6 bytes."""


def main() -> None:
    """Measure, print, and write `scale.json` and `scale.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=SIZES)
    sizes = parser.parse_args().rows
    measured: list[Measured] = []
    for rows in sorted(sizes):
        with tempfile.TemporaryDirectory(prefix="scale_") as name:
            for one in measure(Path(name), rows):
                measured.append(one)
                _write(measured)
    print_view(_table(measured))
    print_view(f"Results: {OUTPUT.absolute()}")


def measure(folder: Path, rows: int) -> Iterator[Measured]:
    """Measure every command over so many rows, in a folder that is theirs."""
    write_audio(folder / "audio")
    write_lines(folder / "all_test.jsonl", rows, rated_row)
    write_lines(folder / "requests.jsonl", rows, request)
    write_lines(folder / "pairs.jsonl", rows, pair_result)
    tracking = (f"tracking.uri=sqlite:///{folder}/mlflow.db", f"tracking.artifacts={folder}/artifacts")
    data = (f"data.root={folder}", f"data.jsonl={folder}/all_test.jsonl", f"data.manifest={folder}/manifest.parquet")
    cache = folder / "cache"
    run = ("run.py", *TRIVIAL, *data, "subset=pam", f"cache.dir={cache}", "+device=cpu", *tracking)
    evaluate = ("run.py", "task=evaluate", f"data.root={folder}", *tracking)
    trivial = (word for setting in TRIVIAL[1:] for word in ("--set", setting))
    score = (*CMI_BENCH, "score", "--model", "custom", *trivial, "--cache-dir", f"{folder}/own", "--device", "cpu",
             "--requests", f"{folder}/requests.jsonl", "--out", f"{folder}/scores")  # fmt: skip
    commands: Mapping[str, tuple[str, ...]] = {
        "run.py": (*run, f"hydra.run.dir={folder}/run"),
        "run.py, again": (*run, f"hydra.run.dir={folder}/again"),
        "evaluate, rated": (
            *evaluate, f"results={folder}/run/results.jsonl", f"hydra.run.dir={folder}/rated"
        ),
        "evaluate, pairs": (*evaluate, f"results={folder}/pairs.jsonl", f"hydra.run.dir={folder}/of_pairs"),
        "score --out": score,
        "score --out, again": score,
    }  # fmt: skip
    for what, words in commands.items():
        yield _measured(what, rows, words, folder)


def _measured(what: str, rows: int, words: tuple[str, ...], folder: Path) -> Measured:
    """Run a command to its end, which writes below a folder.

    Raises:
        SystemExit: It failed.
    """
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "CMI_BENCH_LEDGER": ""}
    before = _megabytes(folder)
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *words], cwd=PROJECT, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")
            raise SystemExit(f"{what} over {rows:,} rows ended with {process.returncode}:\n{text[-4000:]}")
    pages = [Path(word.partition("=")[2]) / "report.html" for word in words if word.startswith("hydra.run.dir=")]
    return Measured(
        what,
        rows,
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        seconds=round(seconds, 2),
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        disk_mb=_megabytes(folder) - before,
        page_mb=next((page.stat().st_size / 1e6 for page in pages if page.exists()), None),
    )


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def write_audio(folder: Path) -> None:
    """Write a few tones."""
    folder.mkdir()
    at = np.arange(int(SR * SECONDS)) / SR
    for number in range(FILES):
        soundfile.write(folder / f"{number}.wav", 0.3 * np.sin(2 * np.pi * (200 + 40 * number) * at), SR)


def write_lines(file: Path, rows: int, line: Callable[[int, random.Random], Mapping[str, Any]]) -> None:
    """Write so many lines of JSON, one after the other."""
    rng = random.Random(0)
    with file.open("w", encoding="utf-8") as target:
        for number in range(rows):
            target.write(json.dumps(line(number, rng)) + "\n")


def prompt_of(number: int) -> str:
    """Return a prompt of the usual length, another one for each number."""
    return f"prompt {number}: an instrumental piece with piano, strings and a slow beat in the style of a film score"


def request(number: int, rng: random.Random) -> dict[str, Any]:
    """Return what a catalogue asks."""
    return {"id": number, "audio": f"audio/{number % FILES}.wav", "text": prompt_of(number)}


def rated_row(number: int, rng: random.Random) -> dict[str, Any]:
    """Return a row with two mean opinion scores, and a prompt that no other row has."""
    steps = [1 + 0.5 * step for step in range(9)]
    return {
        "source": RATED, "split": "test", "audio-path": f"audio/{number % FILES}.wav", "prompt": prompt_of(number),
        "lyrics": "", "ref-audio-path": "", "musicality": rng.choice(steps), "text-music alignment": rng.choice(steps),
        "model_a": f"system {number % SYSTEMS}",
    }  # fmt: skip


def pair_result(number: int, rng: random.Random) -> dict[str, Any]:
    """Return a line of a results file: a pair with preferences, confidences and scores."""
    a, b = rng.gauss(0, 1), rng.gauss(0, 1)

    def said() -> str:
        return "model_a" if a - b + rng.gauss(0, 1) > 0 else rng.choice(["model_b", "model_b", "both"])

    answer = "model_a" if a > b else "model_b"
    return {
        "source": PAIRS, "split": "test", "audio-path": f"audio/{number % FILES}.wav",
        "audio2": f"audio/{(number + 1) % FILES}.wav", "prompt": prompt_of(number // ROWS_A_PROMPT),
        "lyrics": "la la la" * (number % 2), "ref-audio-path": "audio/0.wav" * (number % 3 == 0),
        "preference-musicality": said(), "preference-alignment": said(),
        "confidence_preference-musicality": str(rng.choice([1, 2, 3, 4, 5])),
        "confidence_preference-alignment": str(rng.choice([1, 2, 3, 4, 5])),
        "model_a": f"system {number % SYSTEMS}", "model_b": f"system {(number + 1 + number % 3) % SYSTEMS}",
        "benchmark_dataset": "CMI-Pref", "predicted_musicality": a, "predicted_text-music alignment": a / 2,
        "predicted_musicality_b": b, "predicted_text-music alignment_b": b / 2, "predicted_preference": answer,
        "predicted_preference-musicality": answer, "predicted_preference-alignment": answer,
        "inference_valid_a": True, "inference_valid_b": True, "inference_error": "",
    }  # fmt: skip


def _write(measured: Sequence[Measured]) -> None:
    machine = f"{platform.processor() or platform.machine()}, {cores()} cores"
    document = {"machine": machine, "measured": [asdict(one) for one in measured]}
    write_text_atomic(OUTPUT / "scale.json", json.dumps(document, indent=2) + "\n")
    write_text_atomic(OUTPUT / "scale.txt", f"{machine}\n{plain_text(_table(measured))}")


def _table(measured: Sequence[Measured]) -> Table:
    title = "+ms: processor time of each row that the size before has not"
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("what", no_wrap=True)
    for name in ("rows", "CPU s", "+ms", "clock", "peak MB", "disk MB", "page MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in sorted(measured, key=lambda one: [other.what for other in measured].index(one.what)):
        smaller = [other for other in measured if other.what == one.what and other.rows < one.rows]
        further = ""
        if smaller:
            before = max(smaller, key=lambda other: other.rows)
            further = f"{1000 * (one.cpu_seconds - before.cpu_seconds) / (one.rows - before.rows):.2f}"
        page = "" if one.page_mb is None else f"{one.page_mb:.2f}"
        sizes = (f"{one.peak_mb:.0f}", f"{one.disk_mb:.1f}", page)
        cells = (f"{one.cpu_seconds:.0f}", further, f"{one.seconds:.0f}", *sizes)
        table.add_row(one.what, f"{one.rows:,}", *cells)
    return table


if __name__ == "__main__":
    main()
