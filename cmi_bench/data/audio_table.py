"""What is known of audio files, as columns: some 250 bytes a file, where objects would take 2,000.

The table is that of the manifest (`data.manifest`), one row per file, in the order of their paths.
"""

import math
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow


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


VERSION = "2"
"""Raise it with any change of what a column means: files of another version are made anew."""
VERSION_KEY = b"cmi_bench_manifest"


def manifest_schema() -> "pyarrow.Schema":
    """Return the columns of a manifest, which are the fields of `AudioRecord`."""
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


PLACES_REMEMBERED = 1 << 14
"""Of so many paths that were asked for, the place in the table is known at once."""


class AudioTable(Mapping[str, AudioRecord]):
    """Records by path. An object is made of a record when it is asked for."""

    def __init__(self, table: "pyarrow.Table | None" = None) -> None:
        """Take a table with the columns of a manifest, in the order of its paths; None for an empty one."""
        self.table = manifest_schema().empty_table() if table is None else table.combine_chunks()
        self.place = lru_cache(PLACES_REMEMBERED)(self._look_up)
        """Return where a path's record stands in the table; None where there is none."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[str]:
        return (path.as_py() for path in self._columns["path"])

    def __getitem__(self, path: str) -> AudioRecord:
        place = self.place(path)
        if place is None:
            raise KeyError(path)
        return AudioRecord(*(column[place].as_py() for column in self._columns.values()))

    def places_of(self, paths: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return where records stand in the table, each once and in order; paths without a record are passed over."""
        there = np.zeros(len(self), dtype=np.bool_)
        for path in paths:
            if (place := self.place(path)) is not None:
                there[place] = True
        return np.flatnonzero(there)

    def column(self, name: str, places: npt.NDArray[np.int64]) -> list[Any]:
        """Return what records say in a field.

        Args:
            name: Of the field.
            places: Where the records stand.
        """
        import pyarrow

        # Not an array that `take` converts: for that PyArrow imports pandas.
        buffers = [None, pyarrow.py_buffer(np.ascontiguousarray(places, dtype=np.int64))]
        indices = pyarrow.Array.from_buffers(pyarrow.int64(), len(places), buffers)
        values: list[Any] = self._columns[name].take(indices).to_pylist()
        return values

    def path_at(self, place: int) -> str:
        """Return the path of the record at a place."""
        return str(self._columns["path"][place].as_py())

    def sha256_at(self, place: int) -> str:
        """Return the digest of the record at a place."""
        return str(self._columns["sha256"][place].as_py())

    def where(self, is_wanted: Callable[[str], bool]) -> "AudioTable":
        """Return the records of some paths."""
        import pyarrow

        return AudioTable(self.table.filter(pyarrow.array((is_wanted(path) for path in self), pyarrow.bool_())))

    def updated(self, newer: "AudioTable") -> "AudioTable":
        """Return these records and newer ones, which take the places of older ones of the same path."""
        import pyarrow

        both = pyarrow.concat_tables([self.where(lambda path: path not in newer).table, newer.table])
        return AudioTable(both.sort_by("path"))

    @cached_property
    def _columns(self) -> "dict[str, pyarrow.Array]":
        import pyarrow

        return {
            name: column.chunk(0) if column.num_chunks else pyarrow.array([], column.type)
            for name, column in zip(self.table.column_names, self.table.columns, strict=True)
        }

    def _look_up(self, path: str) -> int | None:
        paths = self._columns["path"]
        place = bisect_left(range(len(paths)), path, key=lambda one: paths[one].as_py())
        return place if place < len(paths) and paths[place].as_py() == path else None


AT_ONCE = 4096
"""Records that are kept as objects before they become columns."""


class AudioTableBuilder:
    """Takes records one by one, in any order; of a path that comes twice, the later one counts."""

    def __init__(self) -> None:
        self._records: dict[str, AudioRecord] = {}
        self._batches: list[pyarrow.RecordBatch] = []

    def append(self, record: AudioRecord) -> None:
        """Take a record."""
        self._records[record.path] = record
        if len(self._records) == AT_ONCE:
            self._flush()

    def table(self) -> AudioTable:
        """Return the records so far."""
        import pyarrow
        from pyarrow import compute

        self._flush()
        found = pyarrow.Table.from_batches(self._batches, manifest_schema()).sort_by("path").combine_chunks()
        paths = found["path"]
        is_last = compute.not_equal(paths[:-1], paths[1:]).to_pylist() + [True] * bool(len(paths))
        return AudioTable(found.filter(pyarrow.array(is_last, pyarrow.bool_())))

    def _flush(self) -> None:
        import pyarrow

        columns = zip(*map(astuple, self._records.values()), strict=True)
        if self._records:
            self._batches.append(pyarrow.record_batch([list(column) for column in columns], schema=manifest_schema()))
        self._records = {}
