"""Requests for scores as a stream: a table of any length, read some thousand rows at a time.

A stream can be gone through more than once, always in the same order and with the same schema.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from pyarrow import parquet

ROWS_AT_ONCE = 4096


class RequestStream(Protocol):
    """Requests in order. Of their columns AUDIO is needed; it, TEXT, LYRICS and REF_AUDIO hold text."""

    @property
    def root(self) -> str:
        """What paths of audio are relative to: a folder, or an fsspec address."""

    @property
    def schema(self) -> pa.Schema:
        """The requests' own columns."""

    @property
    def count(self) -> int:
        """How many requests there are."""

    def tables(self) -> Iterator[pa.Table]:
        """Yield all requests, some thousands at a time."""


class ParquetRequests:
    """The rows of a Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = str(path.parent)
        with parquet.ParquetFile(path) as file:
            self.schema = file.schema_arrow.remove_metadata()
            self.count = file.metadata.num_rows

    def tables(self) -> Iterator[pa.Table]:
        """Yield all requests, some thousands at a time."""
        with parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, use_threads=False):
                yield pa.Table.from_batches([batch]).cast(self.schema)


def open_requests(place: str) -> RequestStream:
    """Return the requests at a path or an fsspec address.

    Raises:
        UserError: They cannot be read, or are no requests.
    """
    return ParquetRequests(Path(place))
