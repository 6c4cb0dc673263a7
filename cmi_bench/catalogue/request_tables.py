"""Tables of requests, read some thousand rows at a time: Parquet, CSV, TSV and JSON lines, local or remote.

What cannot be scored is told before anything is scored. Of tables of text this takes a pass over the whole file, which
also counts the requests, for the time left, and settles the types of JSON's columns, for one schema over all parts.
"""

import contextlib
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from cmi_bench.catalogue.columns import AUDIO, LYRICS, REF_AUDIO, TEXT
from cmi_bench.data.fields import shown
from cmi_bench.data.rows import Line, parse_object
from cmi_bench.data.tables import CellLines, unreadable
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.utils.addresses import Place, open_place

ROWS_AT_ONCE = 4096
_TEXTS = (AUDIO, TEXT, LYRICS, REF_AUDIO)
BUFFER = 1 << 20
"""Bytes of a column that are read at a time: a row group of Parquet may hold more than memory does."""


def check_columns(columns: Sequence[str], name: object) -> None:
    """Make sure that a table asks for scores.

    Raises:
        UserError: It has no audio, or a column twice.
    """
    if AUDIO not in columns:
        raise UserError(f"{name} has no column {AUDIO!r}.", did_you_mean(AUDIO, columns))
    twice = next((one for place, one in enumerate(columns) if one in columns[:place]), None)
    if twice is not None:
        raise UserError(f"{name} has two columns called {twice!r}.", "Rename one of them.")


class ParquetRequests:
    """The rows of one or more Parquet files, which have the same columns."""

    def __init__(self, files: Sequence[Place], root: Place) -> None:
        """Look at the files' footers.

        Raises:
            UserError: One cannot be read, or is no table of requests; they differ; or hold no rows.
        """
        self.root = root
        self._files = files
        self.count = 0
        for file in files:
            with _parquet(file) as opened:
                schema = _carried(opened.schema_arrow)
                self.count += opened.metadata.num_rows
            if file == files[0]:
                self.schema = schema
                _check_parquet(schema, file)
            elif schema != self.schema:
                raise UserError(
                    f"{file} has other columns than {files[0]}: {_difference(schema, self.schema)}.",
                    "Requests in several files need the same columns, with the same types.",
                )
        if not self.count:
            raise UserError(f"{files[0]} holds no rows.", "It takes a row for each song.")

    def tables(self) -> Iterator[pa.Table]:
        """Yield all requests, some thousands at a time."""
        for file in self._files:
            with _parquet(file) as opened:
                # Threads would decode the columns of a batch side by side, and keep what they read ahead.
                for batch in opened.iter_batches(ROWS_AT_ONCE, columns=self.schema.names, use_threads=False):
                    yield pa.Table.from_batches([batch]).cast(self.schema)


@contextlib.contextmanager
def _parquet(file: Place) -> Iterator[parquet.ParquetFile]:
    try:
        with open_place(file) as opened, parquet.ParquetFile(opened, buffer_size=BUFFER, pre_buffer=False) as found:
            yield found
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is not None:
            raise unreadable(file, error) from error
        raise UserError(f"{file} is not Parquet: {error}", "Save the table again.") from error
    except pa.ArrowException as error:
        raise UserError(f"{file} is not Parquet: {error}", "Save the table again.") from error


def _carried(schema: pa.Schema) -> pa.Schema:
    """Return a schema without what data frames add, and with dictionaries as what they stand for.

    A dictionary is a file's own: parts of one catalogue would differ in it.
    """
    kept = [one for one in schema if not one.name.startswith("__index_level_")]
    return pa.schema(
        pa.field(one.name, one.type.value_type if pa.types.is_dictionary(one.type) else one.type) for one in kept
    )


def _difference(schema: pa.Schema, other: pa.Schema) -> str:
    of = [{one.name: str(one.type) for one in found} for found in (schema, other)]
    name = next((one for one in {**of[0], **of[1]} if of[0].get(one) != of[1].get(one)), None)
    if name is None:
        return "their order"
    return f"{name!r} is {of[0].get(name, 'not there')}, not {of[1].get(name, 'there')}"


def _check_parquet(schema: pa.Schema, file: Place) -> None:
    check_columns(schema.names, file)
    for name in _TEXTS:
        kind = schema.field(name).type if name in schema.names else pa.null()
        texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
        if not any(is_text(kind) for is_text in texts):
            hint = (
                "Write the path or address of the song's file." if name in (AUDIO, REF_AUDIO) else "Write it as text."
            )
            raise UserError(f"{file}: the column {name!r} is {kind}, not text.", hint)


class _LineRequests(ABC):
    """The lines of a text file."""

    schema: pa.Schema

    def __init__(self, file: Place, root: Place) -> None:
        """Read the file once, to know that it can be, and how much there is.

        Raises:
            UserError: It cannot be read, a line is not what it should be, or there is no audio or no line.
        """
        self.root = root
        self.file = file
        self.count = self._survey()
        if not self.count:
            raise UserError(f"{file} holds no rows.", "It takes a line for each song.")

    def tables(self) -> Iterator[pa.Table]:
        """Yield all requests, some thousands at a time."""
        lines = islice(self._lines(), self.count)  # what was added meanwhile is for another time
        while block := list(islice(lines, ROWS_AT_ONCE)):
            try:
                columns = [pa.array(self._values(one, block), one.type) for one in self.schema]
            except (pa.ArrowException, TypeError, OverflowError) as error:
                raise UserError(f"{self.file} has changed while it was read: {error}", "Run again.") from error
            yield pa.table(columns, schema=self.schema)

    @abstractmethod
    def _lines(self) -> Iterator[Line]:
        """Read the file's lines anew."""

    @abstractmethod
    def _survey(self) -> int:
        """Settle the schema, and count."""

    def _values(self, column: pa.Field, block: Sequence[Line]) -> list[Any]:
        return [line.value.get(column.name) for line in block]

    def _text(self, opened: BinaryIO) -> Iterator[str]:
        """Yield the file's lines, which only a line feed ends."""
        for number, line in enumerate(opened, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self.file}, line {number} cannot be read as UTF-8 text.",
                    "Save the file as UTF-8; spreadsheets call it CSV UTF-8.",
                ) from error

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with open_place(self.file) as opened:
                yield opened
        except OSError as error:
            raise unreadable(self.file, error) from error


class CellRequests(_LineRequests):
    """The lines of a CSV or TSV file; all cells are text."""

    def __init__(self, file: Place, root: Place, kind: str) -> None:
        self.kind = kind
        super().__init__(file, root)

    def _lines(self) -> Iterator[Line]:
        with self._opened() as opened:
            found = CellLines(str(self.file), self.kind, self._text(opened))
            check_columns(found.columns, self.file)
            yield from found

    def _survey(self) -> int:
        with self._opened() as opened:
            found = CellLines(str(self.file), self.kind, self._text(opened))
            if found.columns:
                check_columns(found.columns, self.file)
            self.schema = pa.schema(pa.field(name, pa.string()) for name in found.columns)
            return sum(1 for _ in found)


class JsonRequests(_LineRequests):
    """The objects of a JSON-lines file. A column's type is what fits all of its values.

    Whole numbers, numbers, truth values and text stay what they are. Columns that hold lists, objects, or values of
    several kinds are text: what is no text in them is written as JSON.
    """

    def _lines(self) -> Iterator[Line]:
        with self._opened() as opened:
            for number, text in enumerate(self._text(opened), start=1):
                if text.strip():
                    yield Line(number, parse_object(text, f"{self.file}, line {number}"))

    def _survey(self) -> int:
        kinds: defaultdict[str, set[_Kind]] = defaultdict(set)
        count = 0
        for line in self._lines():
            count += 1
            for name, value in line.value.items():
                kinds[name].add(_kind(value))
                if name in _TEXTS and not isinstance(value, str | None):
                    raise UserError(
                        f"{self.file}, line {line.number}: {name!r} is {shown(value)}, not text.",
                        "Write it in quotation marks.",
                    )
        if count:
            check_columns(list(kinds), self.file)
        self.schema = pa.schema(pa.field(name, _type_for(found)) for name, found in kinds.items())
        return count

    def _values(self, column: pa.Field, block: Sequence[Line]) -> list[Any]:
        values = super()._values(column, block)
        if not pa.types.is_string(column.type):
            return values
        return [one if isinstance(one, str | None) else json.dumps(one, ensure_ascii=False) for one in values]


class _Kind(Enum):
    """What a JSON value is."""

    NULL = auto()
    TRUTH = auto()
    WHOLE = auto()
    """A whole number that a floating-point number holds exactly."""
    LONG = auto()
    """A larger one, of 64 bits."""
    NUMBER = auto()
    TEXT = auto()
    OTHER = auto()


def _kind(value: Any) -> _Kind:
    if value is None:
        return _Kind.NULL
    if isinstance(value, str):
        return _Kind.TEXT
    if isinstance(value, bool):
        return _Kind.TRUTH
    if isinstance(value, int):
        return _Kind.WHOLE if abs(value) <= 2**53 else _Kind.LONG if -(2**63) <= value < 2**63 else _Kind.OTHER
    return _Kind.NUMBER if isinstance(value, float) else _Kind.OTHER


_FITTING = (
    ({_Kind.TRUTH}, pa.bool_()),
    ({_Kind.WHOLE, _Kind.LONG}, pa.int64()),
    ({_Kind.WHOLE, _Kind.NUMBER}, pa.float64()),
)


def _type_for(kinds: set[_Kind]) -> pa.DataType:
    given = kinds - {_Kind.NULL}
    return next((fitting for held, fitting in _FITTING if given and given <= held), pa.string())
