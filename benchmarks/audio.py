"""How fast audio is decoded: by format and length, what is read of a file, songs, and clips per second by workers.

`python -m benchmarks.audio [FOLDER]`: long files are synthesised, or are those of the folder named (real
music gives other figures than noise, most of all in OGG). Results are printed and go to `outputs/bench/`.
Processor time is that of one thread, medians; clips per second by the clock need a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cmi_bench.audio.decode import decode
from cmi_bench.audio.probe import probe
from cmi_bench.audio.readers import decoder_versions
from cmi_bench.data.manifest import update_manifest
from cmi_bench.utils.console import plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import file_digest, write_text_atomic

SR = 44100
"""Hz."""
PERIOD = 10.0
"""Seconds after which it repeats."""


def music(seconds: float, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return stereo chords with a beat of noise, float32 [samples, 2] at `SR`; another piece for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(PERIOD * SR)) / SR
    partials = rng.uniform(60, 300) * np.array([1, 1.25, 1.5, 2, 3, 4])[:, None]
    chords = (rng.uniform(0.1, 1, (len(partials), 1)) * np.sin(2 * np.pi * partials * time)).sum(axis=0)
    beat = np.exp(-((time * rng.uniform(1, 4)) % 1) * rng.uniform(2, 16))[:, None]
    noise = rng.standard_normal((len(time), 2))
    piece = rng.uniform(0.02, 0.15) * chords[:, None] + rng.uniform(0.02, 0.25) * beat * noise
    return np.tile(piece, (int(np.ceil(seconds / PERIOD)), 1))[: int(seconds * SR)].astype(np.float32)


OUTPUT = Path("outputs/bench")
MODEL_SR = 24000
"""Hz: what CMI-RM hears."""
NEEDED = 30.0
"""Seconds of a file that are wanted."""
LONG = 600.0
"""Seconds of a synthesised long file."""
MINUTES = 120.0
"""Seconds of a file that CMI-RM looks at by default."""
CONTAINERS = ("mp3", "ogg", "flac", "wav")
SHORT = (0.05, 3.0)
"""Seconds of short files; next to nothing shows what a file costs by itself."""
REPEATS = 7
SONG_SECONDS = 120.0
MP3_COMPRESSION = {128: 2 / 3, 256: 2 / 9}
"""kbit/s of a song as MP3, and libsndfile's level for it."""
FILES, FILE_SECONDS = 64, 60.0
"""For files per second: how many, and how long."""
WORKERS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Decoding:
    """What parts of a file cost, in milliseconds of one processor; of a file that is no longer, all of it."""

    file: str
    seconds: float
    first_ms: float
    """The first `NEEDED` seconds."""
    minutes_ms: float
    """The first `MINUTES`."""
    whole_ms: float
    reads: int
    """System calls that read, for the first `NEEDED` seconds."""
    kilobytes: float
    """That they read; 0 where the system does not say."""

    @property
    def per_second(self) -> float:
        """How many clips of `NEEDED` seconds a processor decodes in a second."""
        return 1000 / self.first_ms


@dataclass(frozen=True)
class Throughput:
    """Files per second, and what each takes of the processors."""

    what: str
    workers: int
    files_per_second: float
    ms_per_file: float
    """Processor time of all processes and threads."""


@dataclass(frozen=True)
class Song:
    """What all of a song takes, in milliseconds of one processor."""

    file: str
    kbit_per_second: float
    digest_ms: float
    """Its bytes' SHA-256, by which scores are known."""
    decode_ms: float


def main() -> None:
    """Measure, print, and write `audio.json` and `audio.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("music", type=Path, nargs="?", help="a folder of music")
    music = parser.parse_args().music
    if music and not music.is_dir():
        parser.error(f"{music} is no folder")
    torch.set_num_threads(1)  # as in the processes that decode for a run
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        named = sorted(music.rglob("*.*")) if music else list(_long_files(folder))
        files = [*named, *_short_files(folder)]
        decodings = [_decoding(file) for file in files if file.is_file()]
        songs = [_song(file) for file in _song_files(folder)]
        throughputs = list(_throughputs(folder))
    decoders = ", ".join(f"{name} {version}" for name, version in decoder_versions().items())
    machine = f"{platform.processor() or platform.machine()}, {cores()} cores; {decoders}"
    tables = (_decoding_table(decodings), _songs_table(songs), _throughput_table(throughputs))
    for table in tables:
        print_view(table)
    document = {
        "machine": machine,
        "decoding": [asdict(one) for one in decodings],
        "songs": [asdict(one) for one in songs],
        "throughput": [asdict(one) for one in throughputs],
    }
    write_text_atomic(OUTPUT / "audio.json", json.dumps(document, indent=2) + "\n")
    write_text_atomic(OUTPUT / "audio.txt", "\n".join([machine, *(plain_text(table) for table in tables)]))
    print_view(f"Results: {OUTPUT.absolute()}")


def _long_files(folder: Path) -> Iterator[Path]:
    samples = music(LONG)
    for container in CONTAINERS:
        yield _written(folder / f"long.{container}", samples)


def _short_files(folder: Path) -> Iterator[Path]:
    for seconds in SHORT:
        for container in CONTAINERS:
            yield _written(folder / f"{seconds:g}s.{container}", music(seconds))


def _written(path: Path, samples: npt.NDArray[np.float32]) -> Path:
    # libsndfile's Vorbis encoder wants its samples in small helpings.
    with soundfile.SoundFile(path, "w", SR, 2) as file:
        for start in range(0, len(samples), 1 << 16):
            file.write(samples[start : start + (1 << 16)])
    return path


def _decoding(file: Path) -> Decoding:
    seconds = probe(file).seconds
    first, minutes, whole = (
        _processor_ms(lambda most=most: decode(file, MODEL_SR, most), repeats=REPEATS if most == NEEDED else 3)  # type: ignore[misc]
        for most in (NEEDED, MINUTES, None)
    )
    before = _reads()
    decode(file, MODEL_SR, NEEDED)
    after = _reads()
    return Decoding(
        file=file.name,
        seconds=seconds,
        first_ms=first,
        minutes_ms=minutes,
        whole_ms=whole,
        reads=after.calls - before.calls,
        kilobytes=(after.bytes - before.bytes) / 1000,
    )


class _Reads(NamedTuple):
    """What this process has read so far."""

    calls: int
    bytes: int


def _reads() -> _Reads:
    """Return Linux's counts (proc_pid_io(5)), whichever cache or disk the bytes came from; elsewhere none."""
    try:
        lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    except OSError:
        return _Reads(0, 0)
    return _Reads(int(lines["syscr"]), int(lines["rchar"]))


def _processor_ms(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median milliseconds of processor time that work takes."""
    work()  # files into memory, the resampler's filters made
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(1000 * (time.process_time() - started))
    return statistics.median(times)


def _song_files(folder: Path) -> Iterator[Path]:
    samples = music(SONG_SECONDS)
    for kbit, compression in MP3_COMPRESSION.items():
        path = folder / f"song {kbit} kbit.mp3"
        with soundfile.SoundFile(path, "w", SR, 2, bitrate_mode="CONSTANT", compression_level=compression) as file:
            file.write(samples)
        yield path
    path = folder / "song.flac"
    soundfile.write(path, samples, SR)
    yield path


def _song(file: Path) -> Song:
    kbit = file.stat().st_size * 8 / 1000 / SONG_SECONDS
    digest_ms, decode_ms = (_processor_ms(work) for work in (lambda: file_digest(file), lambda: decode(file, MODEL_SR)))
    return Song(file.name, kbit, digest_ms, decode_ms)


class Decoded(Dataset[Tensor]):
    """Item i is the start of file i, as a run's loader decodes it."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return decode(self.files[index], MODEL_SR, NEEDED)


def _throughputs(folder: Path) -> Iterator[Throughput]:
    """Measure decoding as runs do it (processes) and as programs do (threads), and looking at files."""
    first = _written(folder / "0.mp3", music(FILE_SECONDS))
    files = [first.with_name(f"{number}.mp3") for number in range(FILES)]
    for file in files[1:]:
        os.link(first, file)
    decode(first, MODEL_SR, NEEDED)  # the filters, which processes and threads begin with
    warnings.filterwarnings("ignore", ".*create.*worker processes.*")  # more than there are cores, on purpose
    for workers in WORKERS:
        yield _throughput("decode 30 s, processes", workers, lambda w=workers: _in_processes(files, w))  # type: ignore[misc]
    for workers in WORKERS:
        yield _throughput("decode 30 s, threads", workers, lambda w=workers: _in_threads(files, w))  # type: ignore[misc]
    for what, decodes in (("manifest: headers and digest", False), ("manifest: decode all", True)):
        for workers in sorted({1, cores()}):
            yield _throughput(what, workers, lambda w=workers, d=decodes: _manifest(folder, files, w, decode=d))  # type: ignore[misc]


def _in_processes(files: list[Path], workers: int) -> None:
    for _ in DataLoader(Decoded(files), batch_size=None, num_workers=workers):
        pass


def _in_threads(files: list[Path], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda file: decode(file, MODEL_SR, NEEDED), files):
            pass


def _manifest(folder: Path, files: list[Path], workers: int, *, decode: bool) -> None:
    target = folder / "manifest.parquet"
    target.unlink(missing_ok=True)
    update_manifest(folder, target, [file.name for file in files], decode=decode, workers=workers)


def _throughput(what: str, workers: int, work: Callable[[], None]) -> Throughput:
    started, used = time.perf_counter(), _processor_seconds()
    work()
    took = time.perf_counter() - started
    return Throughput(what, workers, FILES / took, 1000 * (_processor_seconds() - used) / FILES)


def _processor_seconds() -> float:
    """Return what this process and its ended children have used."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def _decoding_table(decodings: list[Decoding]) -> Table:
    title = f"Decoding to {MODEL_SR} Hz, mono: processor time of one thread"
    table = Table("file", "length", "first 30 s", "clips/s", "first 120 s", "all of it", "reads", "read", title=title)
    for one in decodings:
        times = (f"{one.minutes_ms:.1f} ms", f"{one.whole_ms:.1f} ms")
        reads = (f"{one.reads:,}", f"{one.kilobytes:,.0f} kB")
        table.add_row(one.file, f"{one.seconds:g} s", f"{one.first_ms:.1f} ms", f"{one.per_second:.0f}", *times, *reads)
    return table


def _songs_table(songs: list[Song]) -> Table:
    title = f"Songs of {SONG_SECONDS:.0f} s, all of it to {MODEL_SR} Hz, mono: processor time of one thread"
    table = Table("file", "kbit/s", "digest", "decode", title=title)
    for one in songs:
        table.add_row(one.file, f"{one.kbit_per_second:.0f}", f"{one.digest_ms:.1f} ms", f"{one.decode_ms:.0f} ms")
    return table


def _throughput_table(throughputs: list[Throughput]) -> Table:
    table = Table("what", "workers", "files/s", "processor", title=f"MP3 files of {FILE_SECONDS:.0f} s")
    for one in throughputs:
        table.add_row(one.what, str(one.workers), f"{one.files_per_second:.0f}", f"{one.ms_per_file:.1f} ms a file")
    return table


if __name__ == "__main__":
    main()
