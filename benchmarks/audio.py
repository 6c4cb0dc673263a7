"""How fast audio is decoded: the start of long files against all of them, songs, and files per second by workers.

`python -m benchmarks.audio [FOLDER]`: long files are synthesised, or are those of the folder named (real
music gives other figures than noise, most of all in OGG). Results are printed and go to `outputs/bench/`.
"""

import json
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

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
CONTAINERS = ("mp3", "ogg", "flac", "wav")
REPEATS = 7
SONG_SECONDS = 120.0
MP3_COMPRESSION = {128: 2 / 3, 256: 2 / 9}
"""kbit/s of a song as MP3, and libsndfile's level for it."""
FILES, FILE_SECONDS = 40, 60.0
"""For files per second: how many, and how long."""
WORKERS = tuple(sorted({1, 2, 4, cores(), 2 * cores()}))


@dataclass(frozen=True)
class PartOfAFile:
    """The start of a file against all of it."""

    file: str
    seconds: float
    part_ms: float
    whole_ms: float

    @property
    def ratio(self) -> float:
        """How many times as long all of it takes."""
        return self.whole_ms / self.part_ms


@dataclass(frozen=True)
class Throughput:
    """Files per second."""

    what: str
    workers: int
    files_per_second: float


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
    torch.set_num_threads(1)  # as in the processes that decode for a run
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        named = sorted(Path(sys.argv[1]).expanduser().rglob("*.*")) if len(sys.argv) > 1 else list(_long_files(folder))
        parts = [_part_of(file) for file in named if probe(file).seconds > 2 * NEEDED]
        songs = [_song(file) for file in _song_files(folder)]
        throughputs = list(_throughputs(folder))
    decoders = ", ".join(f"{name} {version}" for name, version in decoder_versions().items())
    machine = f"{platform.processor() or platform.machine()}, {cores()} cores; {decoders}"
    tables = (_parts_table(parts), _songs_table(songs), _throughput_table(throughputs))
    for table in tables:
        print_view(table)
    document = {
        "machine": machine,
        "parts": [asdict(one) for one in parts],
        "songs": [asdict(one) for one in songs],
        "throughput": [asdict(one) for one in throughputs],
    }
    write_text_atomic(OUTPUT / "audio.json", json.dumps(document, indent=2) + "\n")
    write_text_atomic(OUTPUT / "audio.txt", "\n".join([machine, *(plain_text(table) for table in tables)]))
    print_view(f"Results: {OUTPUT.absolute()}")


def _long_files(folder: Path) -> Iterator[Path]:
    samples = music(LONG)
    for container in CONTAINERS:
        path = folder / f"long.{container}"
        # libsndfile's Vorbis encoder wants its samples in small helpings.
        with soundfile.SoundFile(path, "w", SR, 2) as file:
            for start in range(0, len(samples), 1 << 16):
                file.write(samples[start : start + (1 << 16)])
        yield path


def _part_of(file: Path) -> PartOfAFile:
    return PartOfAFile(
        file=file.name,
        seconds=probe(file).seconds,
        part_ms=_milliseconds(lambda: decode(file, MODEL_SR, NEEDED)),
        whole_ms=_milliseconds(lambda: decode(file, MODEL_SR)),
    )


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
    digest_ms, decode_ms = (
        _milliseconds(work, clock=time.process_time)
        for work in (lambda: file_digest(file), lambda: decode(file, MODEL_SR))
    )
    return Song(file.name, kbit, digest_ms, decode_ms)


def _milliseconds(
    work: Callable[[], object], repeats: int = REPEATS, clock: Callable[[], float] = time.perf_counter
) -> float:
    work()  # files into memory, the resampler's filter made
    times = []
    for _ in range(repeats):
        started = clock()
        work()
        times.append(1000 * (clock() - started))
    return min(times)  # whatever else the machine does makes it longer, nothing makes it shorter


class Decoded(Dataset[Tensor]):
    """Item i is the start of file i, as a run's loader decodes it."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return decode(self.files[index], MODEL_SR, NEEDED)


def _throughputs(folder: Path) -> Iterator[Throughput]:
    """Measure a run's decoding, and what the manifest looks at with and without decoding."""
    first = folder / "0.mp3"
    soundfile.write(first, music(FILE_SECONDS), SR)
    files = [first.with_name(f"{number}.mp3") for number in range(FILES)]
    for file in files[1:]:
        os.link(first, file)
    warnings.filterwarnings("ignore", ".*create.*worker processes.*")  # more than there are cores, on purpose
    for workers in WORKERS:
        loader = DataLoader(Decoded(files), batch_size=None, num_workers=workers)
        yield Throughput("decode 30 s for a run", workers, _per_second(lambda loader=loader: list(loader)))  # type: ignore[misc]
    for what, decodes in (("manifest: headers and digest", False), ("manifest: decode all", True)):
        for workers in WORKERS:
            yield Throughput(
                what, workers, _per_second(lambda w=workers, d=decodes: _manifest(folder, files, w, decode=d))
            )  # type: ignore[misc]


def _manifest(folder: Path, files: list[Path], workers: int, *, decode: bool) -> None:
    target = folder / "manifest.parquet"
    target.unlink(missing_ok=True)
    update_manifest(folder, target, [file.name for file in files], decode=decode, workers=workers)


def _per_second(work: Callable[[], object]) -> float:
    return FILES / (_milliseconds(work, repeats=2) / 1000)


def _parts_table(parts: list[PartOfAFile]) -> Table:
    table = Table("file", "length", "first 30 s", "all of it", "ratio", title=f"Decoding to {MODEL_SR} Hz, mono")
    for one in parts:
        cells = (f"{one.seconds:.0f} s", f"{one.part_ms:.0f} ms", f"{one.whole_ms:.0f} ms", f"{one.ratio:.1f}")
        table.add_row(one.file, *cells)
    return table


def _songs_table(songs: list[Song]) -> Table:
    title = f"Songs of {SONG_SECONDS:.0f} s, all of it to {MODEL_SR} Hz, mono: processor time of one thread"
    table = Table("file", "kbit/s", "digest", "decode", title=title)
    for one in songs:
        table.add_row(one.file, f"{one.kbit_per_second:.0f}", f"{one.digest_ms:.1f} ms", f"{one.decode_ms:.0f} ms")
    return table


def _throughput_table(throughputs: list[Throughput]) -> Table:
    table = Table("what", "workers", "files/s", title=f"MP3 files of {FILE_SECONDS:.0f} s")
    for one in throughputs:
        table.add_row(one.what, str(one.workers), f"{one.files_per_second:.0f}")
    return table


if __name__ == "__main__":
    main()
