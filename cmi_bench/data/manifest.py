"""The manifest of a data root: what its audio files are, so that nobody has to open them all again.

One Parquet table with a row per audio file. Only files that are new or changed are looked at.
"""

import hashlib
import io
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cmi_bench.audio.probe import measure, probe
from cmi_bench.audio.readers import AudioError
from cmi_bench.errors import UserError
from cmi_bench.utils.files import file_digest, is_regular, open_regular, write_bytes_atomic
from cmi_bench.utils.waiting import locked

if TYPE_CHECKING:
    import pyarrow


log = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm", ".wma"}
)
ROWS_FILE = "all_test.jsonl"
MANIFEST_FILE = "manifest.parquet"
"""The manifest of a data root, where `data.manifest` does not say otherwise."""


def audio_below(root: Path) -> list[str]:
    """Return the audio files below a data root, relative to it, in order.

    Hidden folders are left out, and so are folders that are data roots themselves (such as `mini/`), links to a folder
    that they lie in, and files whose names are not UTF-8 (with a warning).
    """
    found = [path.relative_to(root).as_posix() for path in _audio_in(root, frozenset())]
    nameless = [path for path in found if not _is_utf8(path)]
    if nameless:
        log.warning("Left out %d audio files below %s: their names are not UTF-8; rename them.", len(nameless), root)
    return sorted(set(found) - set(nameless))


def _audio_in(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Yield the audio of a folder and of those in it; `above` has device and inode of those that it lies in."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError:
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not (entry / ROWS_FILE).exists():
                yield from _audio_in(entry, above | {here})
        elif entry.suffix.lower() in AUDIO_SUFFIXES:
            yield entry


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class AudioRecord:
    """One audio file; the fields are the manifest's columns."""

    path: str
    """Relative to the data root, with forward slashes."""
    bytes: int
    mtime_ns: int
    """When the file was last written; with `bytes` it tells whether the record still holds."""
    sha256: str
    """Of the file's bytes, hexadecimal."""
    seconds: float | None = None
    """By the headers, put right where the file's frames say otherwise. This and what follows to `is_cut`: None
    where the file is of no known format."""
    sample_rate: int | None = None
    """Hz."""
    channels: int | None = None
    container: str | None = None
    codec: str | None = None
    decoder: str | None = None
    """The library that decodes it: "soundfile" or "av"."""
    is_cut: bool | None = None
    """Whether its own headers promise more than there is."""
    decoded_seconds: float | None = None
    """How much could be decoded; None where that was not tried (only `task=prepare` and `task=doctor` do)."""
    peak: float | None = None
    """Largest absolute sample, 1 being full scale; NaN where a sample is no number; None as for `decoded_seconds`."""
    error: str | None = None
    """Why the file cannot be decoded."""

    def describes(self, stat: os.stat_result) -> bool:
        """Tell whether a file's size and time are those of the record."""
        return (self.bytes, self.mtime_ns) == (stat.st_size, stat.st_mtime_ns)

    @property
    def was_decoded(self) -> bool:
        """Whether all of the file was decoded, or tried to be."""
        return self.peak is not None or self.error is not None

    @property
    def is_silent(self) -> bool:
        """Whether every sample is zero, or below what 16 bits can hold."""
        return self.peak is not None and self.peak < SILENCE

    @property
    def has_bad_samples(self) -> bool:
        """Whether a sample is no number."""
        return self.peak is not None and math.isnan(self.peak)


SILENCE = 2**-15
"""The smallest step of 16-bit audio."""


def examine(root: Path, path: str, *, decode: bool) -> AudioRecord | None:
    """Return what a file of the data root is, None if there is no such file (any more).

    Args:
        root: The data root.
        path: The file, relative to it.
        decode: Decode all of it, which takes 10 to 100 times as long as reading its headers.
    """
    file = root / path
    try:
        stat = file.stat()
        sha256 = file_digest(file)
    except OSError:
        return None
    record = AudioRecord(path, stat.st_size, stat.st_mtime_ns, sha256)
    facts = {}
    try:
        facts = asdict(probe(file))
        if decode:
            measured = measure(file)
            facts |= {"decoded_seconds": measured.seconds, "peak": measured.peak}
    except AudioError as error:
        facts |= {"error": error.what.replace(f"{file}", path)}
    return AudioRecord(**asdict(record) | facts)


VERSION = "2"
"""Raise it with any change of what a column means: files of another version are made anew."""
VERSION_KEY = b"cmi_bench_manifest"


@dataclass(frozen=True)
class Manifest:
    """What is known of a data root's audio files."""

    records: Mapping[str, AudioRecord] = field(default_factory=dict)
    """By path, relative to the data root."""

    def audio_digest(self, paths: Iterable[str], names: Mapping[str, str] | None = None) -> str:
        """Return one SHA-256 for the contents of files and their names; it is the same on every machine.

        Args:
            paths: The files.
            names: Of files whose paths say where they lie on this machine, what they are called anywhere.

        Raises:
            KeyError: A file has no record.
        """
        called = names or {}
        # Sorted by name; files of two roots may have the same one.
        named = sorted((called.get(path, path), self.records[path].sha256) for path in set(paths))
        lines = "".join(f"{name}\t{sha256}\n" for name, sha256 in named)
        return hashlib.sha256(lines.encode()).hexdigest()


def read_manifest(file: Path) -> Manifest:
    """Read a manifest; where there is none, or one that cannot be used, it is empty."""
    import pyarrow
    from pyarrow import parquet

    try:
        with open_regular(file) as opened:
            # Threads gain nothing here, and one that is still starting when the process ends aborts it.
            table = parquet.read_table(opened, use_threads=False, pre_buffer=False)
    except FileNotFoundError:
        return Manifest()
    except (OSError, pyarrow.ArrowException) as error:
        log.warning("%s cannot be read and is made anew: %s", file, error)
        return Manifest()
    if (table.schema.metadata or {}).get(VERSION_KEY) != VERSION.encode():
        log.info("%s is of another version and is made anew.", file)
        return Manifest()
    if not table.schema.equals(_schema()):
        log.warning("%s has other columns than a manifest and is made anew.", file)
        return Manifest()
    return Manifest({row["path"]: AudioRecord(**row) for row in table.to_pylist()})


def write_manifest(file: Path, manifest: Manifest) -> None:
    """Write a manifest, so that no reader ever sees half of it.

    Raises:
        OSError: The place cannot be written to.
    """
    import pyarrow
    from pyarrow import parquet

    rows = [asdict(manifest.records[path]) for path in sorted(manifest.records)]
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=_schema()), content)
    write_bytes_atomic(file, content.getvalue())


def _schema() -> "pyarrow.Schema":
    import pyarrow

    number, text = pyarrow.float64(), pyarrow.string()
    columns = {
        "path": text,
        "bytes": pyarrow.int64(),
        "mtime_ns": pyarrow.int64(),
        "sha256": text,
        "seconds": number,
        "sample_rate": pyarrow.int32(),
        "channels": pyarrow.int32(),
        "container": text,
        "codec": text,
        "decoder": text,
        "is_cut": pyarrow.bool_(),
        "decoded_seconds": number,
        "peak": number,
        "error": text,
    }
    return pyarrow.schema(list(columns.items()), metadata={VERSION_KEY: VERSION.encode()})


Progress = Callable[[Iterable[AudioRecord], int], Iterable[AudioRecord]]
"""Passes on the records of so many files as they come, and shows how many there were."""


def update_manifest(
    root: Path,
    file: Path,
    paths: Iterable[str],
    *,
    decode: bool = False,
    workers: int | None = None,
    progress: Progress = lambda records, _total: records,
) -> Manifest:
    """Return a manifest that is true for the files named, and keep it for the next time.

    A file whose size and time are those of its record is not opened. What was found out is kept even if the
    work is stopped half way. Records of other files stay; those of files that are gone go.

    Args:
        root: The data root.
        file: The manifest's file; where it cannot be written, what was found is returned all the same.
        paths: Audio files, relative to the root; those that do not exist are passed over.
        decode: Decode the files as well (once): without it, only headers and digests are looked at.
        workers: Files looked at in parallel; None: as many as there are cores.
        progress: Wraps the records as they come.
    """
    known = read_manifest(file).records
    stale = [path for path in dict.fromkeys(paths) if _is_stale(root, path, known.get(path), decode=decode)]
    if not stale:
        return Manifest(known)
    found: dict[str, AudioRecord] = {}
    try:
        for record in progress(_examine_all(root, stale, decode=decode, workers=workers), len(stale)):
            found[record.path] = record
    finally:
        known = _keep(root, file, found)
    return Manifest(known)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_stale(root: Path, path: str, record: AudioRecord | None, *, decode: bool) -> bool:
    try:
        stat = (root / path).stat()
    except (OSError, ValueError):
        return False
    return record is None or not record.describes(stat) or (decode and not record.was_decoded)


def _examine_all(root: Path, paths: list[str], *, decode: bool, workers: int | None) -> Iterator[AudioRecord]:
    # Threads: digests, headers and samples are the business of C code, which runs outside the interpreter's lock.
    with ThreadPoolExecutor(workers or cores()) as pool:
        jobs = [pool.submit(examine, root, path, decode=decode) for path in paths]
        try:
            for job in as_completed(jobs):
                record = job.result()
                if record is not None:
                    yield record
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


LOCK_SECONDS = 60.0
"""How long to wait for another process that writes the manifest, which takes it well below a second."""


def _keep(root: Path, file: Path, found: Mapping[str, AudioRecord]) -> Mapping[str, AudioRecord]:
    """Write what was found beside what is known by now (another run may have added to it), and return both."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_name(f".{file.name}.lock"), seconds=LOCK_SECONDS, what=f"writes {file}"):
            known = {path: record for path, record in read_manifest(file).records.items() if is_regular(root / path)}
            write_manifest(file, Manifest(known | dict(found)))
    except (OSError, UserError) as error:
        known = dict(read_manifest(file).records)
        reason = error.what if isinstance(error, UserError) else error.strerror
        log.warning("The manifest %s cannot be kept (%s); the next run looks at the audio again.", file, reason)
    return known | dict(found)
