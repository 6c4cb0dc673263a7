"""How fast CMI-RM scores on a GPU: its audio tower in each precision and batch, memory, idle time, the CPU's scores.

`python -m benchmarks.gpu [CLIPS]` makes a random network of the released sizes and CLIPS MP3 files of 30 s, and takes
about 8 minutes. Results are printed and go to `outputs/bench/`. It ends with a message where there is no GPU.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from benchmarks.tower import CHUNK, tower_operations
from benchmarks.workload import write_checkpoints, write_workload
from cmi_bench.data import fields
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.batching import Precision, arithmetic
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.cmi_rm.model import ENCODE_CHUNKS
from cmi_bench.models.device_rate import best_rate
from cmi_bench.models.memory import is_out_of_memory, release_memory
from cmi_bench.models.static_batches import Compute
from cmi_bench.tracking.metadata import versions
from cmi_bench.utils.console import plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench")
CLIPS = 1024
SPACE = 5e9
"""Bytes of disk that are needed for a while."""
MEMORY_GB = 16
"""Of the GPU, for batches of 8; larger ones are left out where they do not fit."""
RECORDINGS = 12
"""Different ones among the clips."""
REPEATS = 5
KINDS: tuple[tuple[Precision, bool, str], ...] = (
    ("32", False, "on"),
    ("32", True, "on"),
    ("tf32", False, "on"),
    ("bf16", False, "off"),
    ("bf16", False, "on"),
    ("bf16", True, "on"),
)
"""Precision, whether compiled, kernels."""
BATCHES = (1, 4, 8, 16, 32, 64)


class Stopwatch:
    """Moments in the work of a device: events on a GPU, the clock on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> Any:
        """Return this moment in the device's work."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def between(self, start: Any, end: Any) -> float:
        """Return the seconds between two moments, when the device has come to the second."""
        if self.device.type != "cuda":
            return float(end - start)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000

    def median(self, work: Callable[[], object], repeats: int = REPEATS) -> float:
        """Return the seconds that work takes on the device: the median, after two runs that do not count."""
        for _ in range(2):
            work()
        moments = [self.now()]
        for _ in range(repeats):
            work()
            moments.append(self.now())
        return float(np.median([self.between(*pair) for pair in itertools.pairwise(moments)]))


class TimedTower:
    """An audio tower that notes when it begins and ends each batch."""

    def __init__(self, tower: Compute, device: torch.device) -> None:
        self.tower = tower
        self.watch = Stopwatch(device)
        self.moments: list[tuple[Any, Any]] = []

    def __call__(self, chunks: Tensor) -> Tensor:
        """Encode chunks."""
        start = self.watch.now()
        frames = self.tower(chunks)
        self.moments.append((start, self.watch.now()))
        return frames

    @property
    def facts(self) -> dict[str, float]:
        """The seconds that it computed, and those from its first batch to the end of its last."""
        if not self.moments:
            return {}
        busy = sum(self.watch.between(*pair) for pair in self.moments)
        span = self.watch.between(self.moments[0][0], self.moments[-1][1])
        return {"busy_seconds": busy, "span_seconds": span, "batches": len(self.moments)}


class TimedCmiRM(CmiRM):
    """CMI-RM that says how long a whole run left its audio tower idle."""

    is_deterministic = False
    """So that no clips are scored again at the end, which would count as idle."""

    def encode_audio(self, chunks: Sequence[Tensor], batch_size: int = ENCODE_CHUNKS) -> list[Tensor]:
        """Encode chunks; see `CmiRM.encode_audio`."""
        if not isinstance(self.parts.audio_tower, TimedTower):
            self.parts.audio_tower = TimedTower(self.parts.audio_tower, self.device)
        return super().encode_audio(chunks, batch_size)

    @property
    def facts(self) -> dict[str, Any]:
        """Those of CMI-RM and of its tower."""
        tower = vars(self.parts).get("audio_tower")
        return super().facts | (tower.facts if isinstance(tower, TimedTower) else {})


@dataclass(frozen=True)
class BatchSpeed:
    """What one kind of the tower came to at one size of the batch."""

    precision: str
    compiled: bool
    kernels: str
    batch: int
    seconds: float
    """For one batch; infinity where it does not fit into memory."""
    tflops: float
    """Rate in 10^12 operations a second."""
    share: float
    """Of the rate of a large product in the same precision."""
    peak_gb: float
    """Of the device's memory, weights included."""

    @property
    def clips_per_second(self) -> float:
        """Chunks of 30 s."""
        return self.batch / self.seconds


def measure_tower(
    checkpoint: Path, device: torch.device, batches: Sequence[int], operations: int, best: dict[str, float]
) -> Iterator[BatchSpeed]:
    """Measure the audio tower in every kind at these sizes of the batch; after one that does not fit, no larger one.

    Args:
        checkpoint: Of the network.
        device: Where.
        batches: Rising.
        operations: Of one chunk.
        best: The rate of a large product by precision, in 10^12 operations a second.
    """
    generator = torch.Generator().manual_seed(0)
    chunks = 0.1 * torch.randn(max(batches), CHUNK, generator=generator)
    for precision, compile, kernels in KINDS:  # noqa: A001
        if device.type == "cpu" and precision == "tf32":
            continue
        model = CmiRM(str(checkpoint), device=device, precision=precision, compile=compile, kernels=kernels)
        for batch in batches:
            with peak_memory_of(device) as peak:
                seconds = _seconds_or_infinity(model.parts.audio_tower, chunks[:batch], precision, device)
            rate = batch * operations / seconds / 1e12
            yield BatchSpeed(precision, compile, kernels, batch, seconds, rate, rate / best[precision], peak[0] / 1e9)
            if seconds == float("inf"):
                break
        del model
        release_memory()


def _seconds_or_infinity(tower: Compute, chunks: Tensor, precision: Precision, device: torch.device) -> float:
    try:
        with arithmetic(precision, device):
            return Stopwatch(device).median(partial(tower, chunks.to(device)))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return float("inf")


@contextmanager
def peak_memory_of(device: torch.device) -> Iterator[list[int]]:
    """Yield a list that gets the peak of the device's memory in the block: bytes; of the CPU 0."""
    found: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    found.append(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0)


PROMPTS = ("slow strings", "deep house", "", "a cheerful song with bright piano")


def score_differences(checkpoint: Path, device: torch.device, seconds: float = 30.0) -> dict[str, float]:
    """Return by kind the largest difference of scores from the CPU's float32, in standard deviations of the scores."""
    generator = torch.Generator().manual_seed(1)
    clips = [0.05 * (n + 1) * torch.randn(int(24_000 * seconds), generator=generator) for n in range(4)]
    references = [clips[0], None, clips[0], None]
    inputs = [BenchmarkBatchInput(*one) for one in zip(clips, PROMPTS, [""] * 4, references, strict=True)]
    wanted = CmiRM(str(checkpoint)).score_batch(inputs, 8, 120.0)
    found = {}
    for precision, compile, kernels in KINDS:  # noqa: A001
        if device.type == "cpu" and precision == "tf32":
            continue
        model = CmiRM(str(checkpoint), device=device, precision=precision, compile=compile, kernels=kernels)
        scores = model.score_batch(inputs, 8, 120.0)
        found[_kind(precision, compile, kernels)] = float((np.abs(scores - wanted) / wanted.std(axis=0)).max())
    return found


def long_clip_gb(checkpoint: Path, device: torch.device, minutes: Sequence[int] = (2, 30)) -> dict[str, float]:
    """Return the peak of the device's memory for one song of so many minutes in bfloat16: 10^9 bytes."""
    model = CmiRM(str(checkpoint), device=device, precision="bf16")
    found = {}
    for length in minutes:
        song = 0.1 * torch.randn(length * 60 * 24_000, generator=torch.Generator().manual_seed(length))
        with peak_memory_of(device) as peak:
            model.score_batch([BenchmarkBatchInput(song, "slow strings")], 8, length * 60.0)
        found[f"{length} min"] = peak[0] / 1e9
    return found


def write_clips(root: Path, clips: int) -> Path:
    """Write clips of 30 s as rows of pairs: a few recordings, each in many copies that differ in a trailing tag.

    Decoding a copy takes what decoding its original takes; for a cache they are different files.
    """
    rows = write_workload(root, RECORDINGS // 3)
    recordings = sorted(root.glob("*.mp3"))
    row = json.loads(rows.read_text("utf-8").splitlines()[0])
    lines = []
    for pair in range(clips // 2):
        names = [f"clip{2 * pair}.mp3", f"clip{2 * pair + 1}.mp3"]
        for number, name in enumerate(names, 2 * pair):
            tag = b"TAG" + str(number).encode().ljust(125, b"\0")  # ID3v1: the last 128 bytes
            (root / name).write_bytes(recordings[number % len(recordings)].read_bytes() + tag)
        lines.append(json.dumps(row | {fields.AUDIO_A: names[0], fields.AUDIO_B: names[1], fields.REF_AUDIO: ""}))
    rows.write_text("\n".join(lines) + "\n", "utf-8")
    return rows


def whole_run(checkpoint: Path, rows: Path, folder: Path, device: str, *words: str) -> dict[str, Any]:
    """Run the benchmark over rows in a process of its own; returns its `metadata.json`.

    Raises:
        subprocess.CalledProcessError: It failed; what it said is on stderr.
    """
    line = [sys.executable, "run.py", f"hydra.run.dir={folder}", *run_words(checkpoint, rows, folder, device), *words]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((folder / "metadata.json").read_text("utf-8"))
    return found


def run_words(checkpoint: Path, rows: Path, folder: Path, device: str) -> list[str]:
    """Return the words of a run whose audio tower is timed."""
    return [
        *("model=cmi_rm", "model._target_=benchmarks.gpu.TimedCmiRM", f"model.checkpoint={checkpoint}"),
        *(f"data.root={rows.parent}", f"data.jsonl={rows}", "subset=cmi_pref", f"cache.dir={folder}/cache"),
        *("tracking=none", "metrics.resamples=0", "metrics.report=false", f"+device={device}"),
    ]


RUNS = {
    "bf16": ("precision=bf16",),
    "bf16, batches up to 64": ("precision=bf16", "batch_size=64", "batch_seconds=1920"),
    "bf16, compiled": ("precision=bf16", "compile=true", "batch_size=64", "batch_seconds=1920"),
    "tf32": ("precision=tf32",),
}
"""Whole runs, and the words that make them what they are."""


def main() -> None:
    """Measure, print, and write `gpu.json` and `gpu.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=int, nargs="?", default=CLIPS, help="clips of 30 s in a whole run")
    clips = parser.parse_args().clips
    device = needed_gpu()
    if shutil.disk_usage(tempfile.gettempdir()).free < SPACE:
        sys.exit(f"{tempfile.gettempdir()} needs {SPACE / 1e9:.0f} GB for a while; set TMPDIR to another disk.")
    about = f"{torch.cuda.get_device_name(device)}, {cores()} cores; torch {torch.__version__}"
    print_view(f"{about}: about 8 minutes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (checkpoint,) = write_checkpoints(folder / "checkpoints", 1)
        best = {precision: best_rate(device, precision) / 1000 for precision in ("32", "tf32", "bf16")}
        operations = tower_operations(checkpoint)
        speeds = list(measure_tower(checkpoint, device, BATCHES, operations, best))
        print_view(tower := _tower_table(speeds, best))
        facts = score_differences(checkpoint, device)
        memory = long_clip_gb(checkpoint, device)
        rows = write_clips(folder / "data", clips)
        runs = {
            what: whole_run(checkpoint, rows, folder / f"run{number}", "cuda:0", *words)
            for number, (what, words) in enumerate(RUNS.items())
        }
    views = [_fact_table(facts, memory), run_table(runs, clips)]
    for view in views:
        print_view(view)
    document = {
        "machine": about,
        "versions": versions(),
        "products_tflops": best,
        "tower": [asdict(one) for one in speeds],
        "differences": facts,
        "memory_gb": memory,
        "runs": runs,
    }
    write_text_atomic(OUTPUT / "gpu.json", json.dumps(document, indent=2) + "\n")
    write_text_atomic(OUTPUT / "gpu.txt", "\n".join([about, *map(plain_text, [tower, *views])]))
    print_view(f"Results: {OUTPUT.absolute()}")


def needed_gpu() -> torch.device:
    """Return the first GPU, or end the program with what is needed and what there is."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    sys.exit(
        f"This needs a CUDA GPU with {MEMORY_GB} GB; there is none that torch {torch.__version__} ({built}) can use."
        " Nothing was measured.\n  -> Check the driver with nvidia-smi; for the CPU: make bench"
    )


def _kind(precision: str, compiled: bool, kernels: str) -> str:
    return f"{precision}{', compiled' if compiled else ''}{', kernels=off' if kernels == 'off' else ''}"


def _tower_table(speeds: list[BatchSpeed], best: dict[str, float]) -> Table:
    rates = ", ".join(f"{precision} {rate:.0f}" for precision, rate in best.items())
    title = f"Audio tower, chunks of 30 s (a large product: {rates} TFLOP/s)"
    table = Table("tower", "batch", "clips/s", "TFLOP/s", "share of the product's", "peak memory", title=title)
    for one in speeds:
        kind = _kind(one.precision, one.compiled, one.kernels)
        if one.seconds == float("inf"):
            table.add_row(kind, str(one.batch), "does not fit", "", "", "")
            continue
        figures = (f"{one.clips_per_second:.1f}", f"{one.tflops:.1f}", f"{one.share:.0%}", f"{one.peak_gb:.1f} GB")
        table.add_row(kind, str(one.batch), *figures)
    return table


def _fact_table(differences: dict[str, float], memory: dict[str, float]) -> Table:
    table = Table("measured", "")
    for kind, value in differences.items():
        table.add_row(f"scores, {kind}: largest difference from the CPU's, in standard deviations", f"{value:.2g}")
    for length, value in memory.items():
        table.add_row(f"peak memory, bf16, one song of {length}", f"{value:.1f} GB")
    return table


def run_table(runs: dict[str, dict[str, Any]], clips: int) -> Table:
    """Return what whole runs came to: the device is idle between a batch's end and the next one's beginning."""
    parts = ("wait", "encode", "write", "wall")
    heads = ("run", "clips/s", "idle", "seconds at once", *parts)
    table = Table(*heads, title=f"Whole runs over {clips} MP3 clips of 30 s, from the first batch to the last; seconds")
    for what, metadata in runs.items():
        model, seconds = metadata["model"], metadata["seconds"]
        idle = 1 - model["busy_seconds"] / model["span_seconds"]
        figures = (f"{clips / model['span_seconds']:.1f}", f"{idle:.1%}", f"{model.get('batch_seconds', 30):.0f}")
        table.add_row(what, *figures, *(f"{seconds.get(part, 0.0):.1f}" for part in parts))
    return table


if __name__ == "__main__":
    main()
