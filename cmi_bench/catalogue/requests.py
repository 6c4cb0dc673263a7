"""Requests for scores as a stream: a table of any length, read some thousand rows at a time, or a folder of songs.

A stream can be gone through more than once, always in the same order and with the same schema. All that can be known
to be wrong with one is told when it is opened, before anything is scored.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

import pyarrow as pa

from cmi_bench.catalogue.columns import AUDIO
from cmi_bench.catalogue.request_tables import ROWS_AT_ONCE, CellRequests, JsonRequests, ParquetRequests
from cmi_bench.data.manifest import AUDIO_SUFFIXES, audio_below
from cmi_bench.data.tables import CELLS, PARQUET, unreadable
from cmi_bench.errors import UserError
from cmi_bench.utils.addresses import Place, below, open_address, place_of, remote_errors


class RequestStream(Protocol):
    """Requests in order. Of their columns AUDIO is needed; it, TEXT, LYRICS and REF_AUDIO hold text."""

    @property
    def root(self) -> Place:
        """What paths of audio are relative to."""

    @property
    def schema(self) -> pa.Schema:
        """The requests' own columns."""

    @property
    def count(self) -> int:
        """How many requests there are."""

    def tables(self) -> Iterator[pa.Table]:
        """Yield all requests, some thousands at a time.

        Raises:
            UserError: They cannot be read any more, or are not what they were when the stream was opened.
        """


def open_requests(name: str | Path) -> RequestStream:
    """Return the requests at a path or an fsspec address, read by the suffix.

    Args:
        name: A table: `.parquet`, `.csv`, `.tsv`, any other is JSON lines. Or a folder: the audio files in it, with
            all below it; or, of a folder that has none, its Parquet files, which are one table.

    Raises:
        UserError: They cannot be read, there are none, or they are no requests.
    """
    place = place_of(name)
    if _is_folder(place):
        songs = audio_below(place) if isinstance(place, Path) else _files_below(place, AUDIO_SUFFIXES)
        if songs:
            return SongFolder(place, songs)
        tables = _files_below(place, PARQUET)
        if not tables:
            raise UserError(f"{name} holds no audio files.", f"Known are {', '.join(sorted(AUDIO_SUFFIXES))}.")
        return ParquetRequests([below(place, one) for one in tables], place)
    root = place.parent if isinstance(place, Path) else place.rpartition("/")[0]
    suffix = PurePosixPath(str(place)).suffix.lower()
    if suffix in PARQUET:
        return ParquetRequests([place], root)
    return CellRequests(place, root, CELLS[suffix]) if suffix in CELLS else JsonRequests(place, root)


def _is_folder(place: Place) -> bool:
    if isinstance(place, Path):
        return place.is_dir()
    filesystem, path = open_address(place)
    try:
        with remote_errors(place):
            return bool(filesystem.isdir(path))
    except OSError as error:
        raise unreadable(place, error) from error


def _files_below(folder: Place, suffixes: frozenset[str]) -> list[str]:
    """Return the files with these suffixes, relative to the folder, in order; hidden ones are left out."""
    if isinstance(folder, Path):
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    else:
        filesystem, path = open_address(folder)
        try:
            with remote_errors(folder):
                found = (one.removeprefix(path).lstrip("/") for one in filesystem.find(path))
        except OSError as error:
            raise unreadable(folder, error) from error
    return sorted(one for one in found if PurePosixPath(one).suffix.lower() in suffixes and "/." not in f"/{one}")


class SongFolder:
    """The audio files of a folder, with all below it, in the order of their names.

    The names are held in memory as one column, some 30 bytes of each: what comes into the folder or goes from it
    meanwhile does not change which request is in which part.
    """

    def __init__(self, root: Place, names: list[str]) -> None:
        """Take the files.

        Args:
            root: The folder.
            names: Relative to it, in order.
        """
        self.root = root
        self.count = len(names)
        self._whole = pa.table({AUDIO: pa.array(names, pa.string())})
        self.schema = self._whole.schema

    def tables(self) -> Iterator[pa.Table]:
        """Yield all requests, some thousands at a time."""
        for start in range(0, self.count, ROWS_AT_ONCE):
            yield self._whole.slice(start, ROWS_AT_ONCE)
