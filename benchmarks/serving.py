"""How fast a reward server is under load, against the plain loop on the same machine, and whether receipts are right.

`python -m benchmarks.serving [--model signal --checkpoint C] [--clients 32] [--seconds 60] [--songs 48]`

1. The plain loop scores the songs: what `cmi-bench score` does, without its start.
2. `cmi-bench serve` is started, and so many clients send the songs, each as fast as it is answered, and each time with
   other bytes around the same samples: nothing is in the store, and the scores are known.
3. SIGTERM while all clients wait: what was taken has to be answered.
4. The plain loop again: other work on the machine falls on both.

The client is a process of its own, on the same cores. Processor seconds a song tell what other work does not change.
Results are printed and go to `outputs/bench/`. `--model constant` is a model that costs nothing.
"""

import argparse
import http.client
import io
import json
import os
import platform
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from rich.table import Table

from benchmarks.audio import music
from cmi_bench.serving.spool import PREFIX
from cmi_bench.utils.console import plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench")
PROJECT = Path(__file__).parents[1]
SR = 44100
TOLERANCE = 1e-4
"""Of a receipt, against the plain loop."""
BOUNDARY = "song-of-the-load"
SETTLED = 5.0
"""Seconds of load before memory is looked at for the first time."""


class Constant:
    """A model that costs nothing but its audio's decoding."""

    sr = 16000
    audio_input = "waveform"

    def __init__(self) -> None:
        self.identity = "constant"

    def score_batch(self, inputs: Sequence[Any], batch_size: int, max_dur: float) -> npt.NDArray[np.float64]:
        """Score by the first sample."""
        return np.array([[0.5, float(one.audio[0])] for one in inputs])


MODELS = {"constant": ("custom", "model.class_path=benchmarks.serving:Constant")}
"""Models of this module: what `--model` and `--set` say of them."""


class Load(NamedTuple):
    """What is measured."""

    model: str
    checkpoint: str | None
    clients: int
    seconds: float
    songs: int
    lengths: tuple[float, float]
    """Of the songs, in seconds, from the shortest to the longest."""


@dataclass
class Answers:
    """What clients got; of all of them together."""

    seconds: list[float] = field(default_factory=list)
    """How long each answer took."""
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: str, seconds: float, wrong: str) -> None:
        """Take an answer."""
        with self.lock:
            self.statuses[status] += 1
            if status == "200":
                self.seconds.append(seconds)
            if wrong:
                self.wrong.append(wrong)


def wav(samples: npt.NDArray[np.float32], number: int) -> bytes:
    """Return a WAV file; equal samples with another number are another file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(SR)
        writer.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    # A chunk that no reader of audio looks at.
    whole = file.getvalue() + b"numb" + struct.pack("<IQ", 8, number)
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def form(audio: bytes, text: str) -> bytes:
    """Return the body of a request."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="text"\r\n\r\n{text}\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="audio"; filename="song.wav"\r\n\r\n'
    return head.encode() + audio + f"\r\n--{BOUNDARY}--\r\n".encode()


def prompt(song: int) -> str:
    """Return a song's prompt."""
    return f"A slow song, number {song % 7}, for piano and drums"


def pieces(load: Load) -> list[npt.NDArray[np.float32]]:
    """Return the songs' samples."""
    lengths = np.linspace(*load.lengths, load.songs)
    return [music(seconds, seed=seed) for seed, seconds in enumerate(lengths)]


def model_words(load: Load) -> list[str]:
    """Return the options of a command that choose the model."""
    name, *settings = MODELS.get(load.model, (load.model,))
    chosen = ["--model", name, "--device", "cpu"]
    chosen += [word for setting in settings for word in ("--set", setting)]
    return chosen + (["--checkpoint", load.checkpoint] if load.checkpoint else [])


def plain_loop(load: Load, folder: Path, first: int) -> tuple[float, float, list[tuple[float, float]]]:
    """Score the songs as `cmi-bench score` does; in a process of its own.

    Returns:
        Seconds, processor seconds, and of each song alignment and musicality.
    """
    command = [sys.executable, "-m", "benchmarks.serving", "--plain", str(folder), "--first", str(first)]
    command += ["--model", load.model, "--songs", str(load.songs)]
    command += ["--lengths", *map(str, load.lengths), *(["--checkpoint", load.checkpoint] if load.checkpoint else [])]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["seconds"], found["cpu"], [tuple(one) for one in found["scores"]]


def score_plainly(load: Load, folder: Path, first: int) -> None:
    """Score the songs here, and print what came of it."""
    from cmi_bench.api.load import build_judge
    from cmi_bench.data.audio_info import FileIndex
    from cmi_bench.hydra_compose import compose_config
    from cmi_bench.scoring.batching import BatchLimits
    from cmi_bench.scoring.local import LocalRunner
    from cmi_bench.scoring.score import score_clips
    from cmi_bench.types import Clip

    name, *settings = MODELS.get(load.model, (load.model,))
    config = compose_config(
        name,
        {} if load.checkpoint is None else {"checkpoint": load.checkpoint},
        values={"on_error": "record", "cache.dir": str(folder / "cache")},
        overrides=settings,
    )
    model = build_judge(config, "cpu")
    clips = []
    for song, samples in enumerate(pieces(load)):
        path = folder / f"{song}.wav"
        path.write_bytes(wav(samples, first + song))
        clips.append(Clip(f"{song}:a", path, prompt(song)))
    runner = LocalRunner(
        BatchLimits(config.batch_size, config.batch_seconds), workers=config.workers, show_progress=False
    )
    # The first batch waits for what is loaded when it is first needed.
    score_clips(
        clips[:1], model, runner, config=config, index=FileIndex(), folder=folder / "warm", with_batch_check=False
    )
    start, cpu = time.perf_counter(), time.process_time()
    found = score_clips(
        clips[1:], model, runner, config=config, index=FileIndex(), folder=folder / "run", with_batch_check=False
    ).scores
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    warm = score_clips(
        clips[:1], model, runner, config=config, index=FileIndex(), folder=folder / "warm", with_batch_check=False
    ).scores
    scores = [(warm | found)[clip.clip_id] for clip in clips]
    share = len(clips) / (len(clips) - 1)
    print(  # noqa: T201
        json.dumps({"seconds": seconds * share, "cpu": cpu * share, "scores": [one.columns for one in scores]})
    )


class Server:
    """`cmi-bench serve` in a process of its own."""

    def __init__(self, load: Load, folder: Path) -> None:
        """Start it, and wait until it is ready."""
        self._log = (folder / "server.log").open("w+")
        command = [sys.executable, "-c", "from cmi_bench.cli.app import app; app()", "serve", "--port", "0"]
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.process = subprocess.Popen(
            [*command, *model_words(load), "--cache-dir", str(folder / "served")],
            cwd=PROJECT, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=os.environ | {"TMPDIR": str(self.spool)},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = [self.process.stdout.readline()]
        parts = urlsplit(next(word for word in self.said[0].split() if word.startswith("http")))
        self.host, self.port = str(parts.hostname), int(parts.port or 0)
        while self.get("/health")[0] != 200:
            if self.process.poll() is not None:
                raise SystemExit((folder / "server.log").read_text())
            time.sleep(0.1)

    def get(self, path: str) -> tuple[int, str]:
        """Return a status and a body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    def measured(self, name: str) -> float:
        """Return a number of `/metrics`."""
        lines = self.get("/metrics")[1].splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def end(self) -> int:
        """Wait for its end, and return the exit code."""
        assert self.process.stdout is not None
        self.said += self.process.stdout.readlines()
        code = self.process.wait(timeout=600)
        self.process.stdout.close()
        self._log.close()
        return code


def client(
    server: Server, songs: list[bytes], expected: list[tuple[float, float]], numbers: "Numbers", answers: Answers
) -> None:
    """Send songs one after another, until there are no more numbers."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=600)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    while (number := numbers.next()) is not None:
        song = number % len(songs)
        whole = songs[song]
        body = form(whole[:-8] + struct.pack("<Q", number), prompt(song))
        start = time.perf_counter()
        try:
            connection.request("POST", "/v1/score", body, headers)
            answer = connection.getresponse()
            status, text = str(answer.status), answer.read()
        except (OSError, http.client.HTTPException) as error:
            if numbers.is_over and isinstance(error, ConnectionRefusedError):  # it was not taken
                answers.add("refused", 0.0, "")
                break
            answers.add(type(error).__name__, 0.0, f"song {number}: {error!r}" if not numbers.is_over else "")
            connection.close()
            continue
        answers.add(status, time.perf_counter() - start, wrong(text, expected[song], number) if status == "200" else "")
    connection.close()


def wrong(text: bytes, expected: tuple[float, float], number: int) -> str:
    """Return what is wrong with a receipt; "" if nothing is."""
    receipt = json.loads(text)
    found = receipt["alignment"], receipt["musicality"]
    pairs = [(one, other) for one, other in zip(found, expected, strict=True) if one is not None or other == other]
    if any(one is None or abs(one - other) > TOLERANCE for one, other in pairs):
        return f"song {number}: {found}, the plain loop says {expected}"
    return ""


class Numbers:
    """Numbers of requests, given out until they are stopped."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._lock = threading.Lock()
        self.is_over = False

    def next(self) -> int | None:
        """Return the next number."""
        with self._lock:
            self._next += 1
            return None if self.is_over else self._next


@dataclass(frozen=True)
class Result:
    """What was measured."""

    load: dict[str, Any]
    plain_rates: list[float]
    """Songs a second, before and after."""
    plain_cpu: list[float]
    """Processor seconds a song."""
    rate: float
    server_cpu: float
    """Processor seconds of the server a song."""
    p50: float
    p99: float
    answers: dict[str, int]
    wrong: int
    memory_mb: tuple[float, float]
    """Resident, after a few seconds of load and at its end."""
    threads: tuple[int, int]
    exit_code: int
    seconds_to_end: float
    """From SIGTERM."""
    answered_after: int
    """Songs that were on their way at SIGTERM and were answered."""
    left: list[str]
    """The server's folders of temporary files after its end."""


def measure(load: Load, folder: Path) -> tuple[Result, Answers]:
    """Measure one server."""
    before = plain_loop(load, _below(folder, "before"), 0)
    songs = [wav(samples, 0) for samples in pieces(load)]
    server = Server(load, folder)
    answers, numbers = Answers(), Numbers(10**6)
    threads = [
        threading.Thread(target=client, args=(server, songs, before[2], numbers, answers)) for _ in range(load.clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(min(SETTLED, load.seconds / 4))
    memory, count = server.measured("process_resident_memory_bytes"), _threads(server)
    start, done, cpu = time.perf_counter(), len(answers.seconds), server.measured("process_cpu_seconds_total")
    time.sleep(load.seconds)
    rate = (len(answers.seconds) - done) / (time.perf_counter() - start)
    server_cpu = (server.measured("process_cpu_seconds_total") - cpu) / max(len(answers.seconds) - done, 1)
    memory_after, count_after = server.measured("process_resident_memory_bytes"), _threads(server)
    answered, told = len(answers.seconds), time.perf_counter()
    numbers.is_over = True
    server.process.send_signal(signal.SIGTERM)
    code = server.end()
    ended = time.perf_counter() - told
    for thread in threads:
        thread.join(timeout=60)
    after = plain_loop(load, _below(folder, "after"), 5 * 10**5)
    times = statistics.quantiles(answers.seconds, n=100)
    return Result(
        load=load._asdict(),
        plain_rates=[load.songs / seconds for seconds in (before[0], after[0])],
        plain_cpu=[cpu / load.songs for cpu in (before[1], after[1])],
        rate=rate,
        server_cpu=server_cpu,
        p50=times[49],
        p99=times[98],
        answers=dict(answers.statuses),
        wrong=len(answers.wrong),
        memory_mb=(memory / 1e6, memory_after / 1e6),
        threads=(count, count_after),
        exit_code=code,
        seconds_to_end=ended,
        answered_after=len(answers.seconds) - answered,
        left=sorted(path.name for path in server.spool.glob(f"{PREFIX}*")),
    ), answers


def _threads(server: Server) -> int:
    folder = Path(f"/proc/{server.process.pid}/task")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _below(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def view(result: Result) -> Table:
    """Return the table."""
    plain = statistics.mean(result.plain_rates)
    table = Table(title=f"{result.load['clients']} clients, {result.load['model']}", show_header=False)
    rows = {
        "plain loop, songs/s": f"{plain:.2f} (before {result.plain_rates[0]:.2f}, after {result.plain_rates[1]:.2f})",
        "server, songs/s": f"{result.rate:.2f}, {result.rate / plain:.2f} of the plain loop",
        "processor s a song": f"plain {statistics.mean(result.plain_cpu):.4f}, server {result.server_cpu:.4f}",
        "latency": f"p50 {result.p50:.3f} s, p99 {result.p99:.3f} s",
        "answers": ", ".join(f"{status}: {count}" for status, count in result.answers.items()),
        "wrong receipts": str(result.wrong),
        "memory": f"{result.memory_mb[0]:.0f} MB, at the end {result.memory_mb[1]:.0f} MB",
        "threads": f"{result.threads[0]}, at the end {result.threads[1]}",
        "SIGTERM": f"exit code {result.exit_code} after {result.seconds_to_end:.1f} s; {result.answered_after} answers"
        f" after it; {len(result.left)} temporary files left",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def main() -> None:
    """Measure, print, and keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="signal")
    parser.add_argument("--checkpoint")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--songs", type=int, default=48)
    parser.add_argument("--lengths", type=float, nargs=2, default=(10.0, 10.0))
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    load = Load(given.model, given.checkpoint, given.clients, given.seconds, given.songs, tuple(given.lengths))
    if given.plain is not None:
        score_plainly(load, given.plain, given.first)
        return
    with tempfile.TemporaryDirectory(prefix="cmi-bench-load-") as folder:
        result, answers = measure(load, Path(folder))
    table = view(result)
    print_view(table)
    for line in answers.wrong[:5]:
        print_view(line)
    machine = {"cores": cores(), "platform": platform.platform(), "load": os.getloadavg()}
    report = json.dumps({"machine": machine, **asdict(result)}, indent=2)
    path = write_text_atomic(OUTPUT / f"serving_{load.model}.json", report + "\n")
    write_text_atomic(path.with_suffix(".txt"), plain_text(table))
    print_view(f"{path}")


if __name__ == "__main__":
    main()
