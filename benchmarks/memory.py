"""How much memory CMI-RM takes on the CPU: clips of several lengths and batches, and a song of half an hour.

`python -m benchmarks.memory` makes a random network of the released sizes (3 GB of disk for a while). Each case is a
process of its own: it loads the network, decodes one clip from a file, encodes a batch, and scores it from embeddings
of the right size. Encoding is stopped after some seconds: pieces of one length take the memory that those before them
took, and only their frames stay. Results are printed and go to `outputs/bench/`.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.table import Table

from benchmarks.inference import describe_machine
from benchmarks.workload import write_whole_checkpoint
from cmi_bench.audio.decode import decode
from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.utils.command import prepare_process
from cmi_bench.utils.console import peak_memory, plain_text, print_view
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench")
SECONDS = 40.0
"""How long each case encodes, at most."""
CASES = ((1, 30), (8, 30), (64, 30), (1, 120), (8, 120), (64, 120), (1, 1800))
"""Batches and the length of their clips, in seconds."""
FILE_SR = 44_100
FRAME_RATE = 25
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to `CLEAR` it makes the peak what the process takes now; see proc(5)."""


@dataclass(frozen=True)
class Peaks:
    """Of one case, in 10^9 bytes of a process; weights that are mapped from their file count where they were read."""

    batch: int
    """Clips."""
    seconds: int
    """Of a clip."""
    loaded: float
    """With the network loaded and prepared, before any work."""
    decoding: float
    """Peak while one clip is decoded from a WAV file of two channels at 44.1 kHz."""
    encoding: float
    """Peak while the batch is encoded."""
    encoded: str
    """How much of it was."""
    scoring: float
    """Peak while the batch is scored from its embeddings."""


def main() -> None:
    """Measure, print, and write `memory.json` and `memory.txt`; in a process for one case, print it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of encoding (default: {SECONDS:g})")
    parser.add_argument("--case", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    args = parser.parse_args()
    prepare_process()
    if args.case:
        found = measure(*args.case, checkpoint=args.checkpoint, limit=args.seconds)
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        return
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(write_whole_checkpoint(Path(folder)))
        for batch, seconds in CASES:
            print_view(f"{batch} x {seconds} s ...")
            peaks.append(in_a_process(batch, seconds, checkpoint=checkpoint, limit=args.seconds))
    shown = table(peaks)
    print_view(shown)
    write_text_atomic(OUTPUT / "memory.json", json.dumps([asdict(one) for one in peaks], indent=2) + "\n")
    write_text_atomic(OUTPUT / "memory.txt", plain_text(shown))
    print_view(f"Results: {OUTPUT.absolute()}")


def in_a_process(batch: int, seconds: int, *, checkpoint: str, limit: float) -> Peaks:
    """Measure a case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--case", str(batch), str(seconds)]
    done = subprocess.run(
        [*command, "--checkpoint", checkpoint, "--seconds", str(limit)], check=True, stdout=subprocess.PIPE, text=True
    )
    return Peaks(**json.loads(done.stdout.splitlines()[-1]))


class TimeIsUpError(Exception):
    """Ends encoding."""


def measure(batch: int, seconds: int, *, checkpoint: str, limit: float) -> Peaks:
    """Measure a case in this process.

    Args:
        batch: Clips.
        seconds: Of each.
        checkpoint: Its folder.
        limit: Seconds of encoding.
    """
    model = CmiRM(checkpoint)
    model.encode_audio([torch.zeros(model.sr)])  # prepares the tower
    (text,) = model.embed_texts(["calm piano music with strings"])
    loaded = peak()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.wav"
        _write_noise(file, seconds)
        decoding = _peak_of(lambda: decode(file, model.sr, None))
    encoding, encoded = _encode(model, batch, seconds, limit)
    frames = [torch.randn(seconds * FRAME_RATE, text.shape[-1]) for _ in range(batch)]
    embedded = [EmbeddedInput([one], text, text, ref_audio=None) for one in frames]
    scoring = _peak_of(lambda: model.score_embedded(embedded, batch_size=batch))
    return Peaks(batch, seconds, loaded, decoding, encoding, encoded, scoring)


def _encode(model: CmiRM, batch: int, seconds: int, limit: float) -> tuple[float, str]:
    """Encode for so many seconds, at most: the peak, and how much of the batch that was."""
    clips = [0.1 * torch.randn(seconds * model.sr) for _ in range(batch)]

    def interrupt(*_: object) -> None:
        raise TimeIsUpError

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit)
    is_whole = []

    def encode() -> None:
        with suppress(TimeIsUpError):
            model.embed_audio(clips, float(seconds), is_reference=False, batch_size=batch)
            is_whole.append(True)
        signal.setitimer(signal.ITIMER_REAL, 0)

    return _peak_of(encode), "all" if is_whole else f"{limit:g} s of it"


def peak() -> float:
    """Return this process's peak so far, in 10^9 bytes."""
    return peak_memory()["process_gb"]


def _peak_of(work: Callable[[], object]) -> float:
    """Return the peak while something is done; of all so far, where the system cannot begin anew."""
    with suppress(OSError):
        CLEAR.write_text(RESET_PEAK)
    work()
    return peak()


def _write_noise(file: Path, seconds: int) -> None:
    """Write a WAV file of two channels, a second at a time."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(file, "w", FILE_SR, channels=2) as audio:
        for _ in range(seconds):
            audio.write(rng.normal(scale=0.1, size=(FILE_SR, 2)))


def table(peaks: list[Peaks]) -> Table:
    """Return the cases as a table."""
    shown = Table(title="peak memory of the process, GB", caption=describe_machine())
    for name in ("clips", "seconds", "loaded", "decoding one", "encoding", "of it encoded", "scoring"):
        shown.add_column(name, justify="right")
    for one in peaks:
        sizes = (f"{one.loaded:.1f}", f"{one.decoding:.1f}", f"{one.encoding:.1f}", one.encoded, f"{one.scoring:.1f}")
        shown.add_row(str(one.batch), str(one.seconds), *sizes)
    return shown


if __name__ == "__main__":
    main()
