"""The folder of a catalogue's scores: part-000012.parquet and its like, each whole or not there, and failed.parquet.

It may be a local folder or an fsspec address. A part is known by its metadata, so that a folder says by itself what it
holds and what is missing.
"""

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from cmi_bench.catalogue.parts import ERROR, METADATA, PartFacts
from cmi_bench.data.tables import unreadable
from cmi_bench.errors import UserError
from cmi_bench.utils.addresses import below, open_address, open_place, place_of, remote_errors, try_to_write
from cmi_bench.utils.files import replacing, without_credentials, writing_to

FAILED = "failed.parquet"
_PART = re.compile(r"part-(\d{6,})\.parquet")
OTHER = "choose another --out"
READERS = 16
"""Parts whose metadata are read at a time: of a remote folder each takes a while, and hardly any work."""


def part_name(number: int) -> str:
    """Return a part's file.

    >>> part_name(12)
    'part-000012.parquet'
    """
    return f"part-{number:06d}.parquet"


class ScoreFolder:
    """Where parts are written to and looked for."""

    def __init__(self, name: str | Path) -> None:
        """Take the folder, which need not be there.

        Args:
            name: A path or an fsspec address.

        Raises:
            UserError: There is no such file system, or the path is a file.
        """
        self.place = place_of(name)
        if isinstance(self.place, Path):
            if self.place.exists() and not self.place.is_dir():
                raise UserError(f"{name} is no folder.", "Give --out a folder, which need not be there yet.")
        else:
            open_address(self.place)

    def __str__(self) -> str:
        return without_credentials(str(self.place))

    def check_writable(self) -> None:
        """Make the folder, and find out whether it can be written to, before anything is scored.

        Raises:
            RunError: It cannot.
        """
        with writing_to(str(self), instead=OTHER):
            try_to_write(self.place)

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part, which appears when it is whole.

        Args:
            number: The part's.
            table: From `part_table`.

        Raises:
            RunError: The disk is full, or the folder cannot be written to.
        """
        if isinstance(self.place, Path):
            for left in self.place.glob(f".{part_name(number)}.*.tmp"):  # of a process that was killed as it wrote
                left.unlink(missing_ok=True)
        with self._appearing(part_name(number)) as file:
            parquet.write_table(table, file, compression="zstd")

    def numbers(self) -> list[int]:
        """Return the numbers of the parts that are there, whole or not, in order.

        Raises:
            UserError: The folder cannot be read.
        """
        found = (_PART.fullmatch(name) for name in self._names())
        return sorted(int(part[1]) for part in found if part)

    def facts(self, numbers: Iterable[int]) -> dict[int, PartFacts]:
        """Return what parts say of themselves, by number; those that are not whole are left out.

        Args:
            numbers: Of parts that are there.

        Raises:
            UserError: A part cannot be read.
        """
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(self._facts, numbers))
        return {facts.part: facts for facts in found if facts is not None}

    def _facts(self, number: int) -> PartFacts | None:
        try:
            with open_place(below(self.place, part_name(number))) as file:
                return PartFacts.from_json((parquet.read_schema(file).metadata or {}).get(METADATA, b""))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno is None:  # Arrow's, of a file that is cut off
                return None
            raise unreadable(below(self.place, part_name(number)), error) from error
        except (pa.ArrowException, ValueError):
            return None

    def write_failed(self) -> int:
        """Bring `failed.parquet` up to date: the rows of all parts that could not be scored; return how many.

        The file is there only where there are any. Only parts that have some are opened. Another process may finish
        parts meanwhile: then it is done again.

        Raises:
            RunError: It cannot be written.
            UserError: A part cannot be read.
        """
        written: dict[int, int] | None = None
        known: dict[int, PartFacts] = {}
        while True:
            known |= self.facts(number for number in self.numbers() if number not in known)
            failed = {number: facts.failed for number, facts in sorted(known.items()) if facts.failed}
            if failed == written:
                return sum(failed.values())
            self._write_failed(list(failed))
            written = failed

    def _write_failed(self, numbers: list[int]) -> None:
        if not numbers:
            self._remove(FAILED)
            return
        with self._appearing(FAILED) as file, contextlib.ExitStack() as stack:
            writer: parquet.ParquetWriter | None = None
            for number in numbers:
                table = self._read(number)
                rows = table.filter(pc.is_valid(table[ERROR])).replace_schema_metadata(None)
                if writer is None:
                    writer = stack.enter_context(parquet.ParquetWriter(file, rows.schema, compression="zstd"))
                writer.write_table(rows)

    def _read(self, number: int) -> pa.Table:
        try:
            with open_place(below(self.place, part_name(number))) as file:
                return parquet.read_table(file, use_threads=False, pre_buffer=False)
        except OSError as error:
            raise unreadable(below(self.place, part_name(number)), error) from error

    def _names(self) -> list[str]:
        try:
            if isinstance(self.place, Path):
                return [path.name for path in self.place.iterdir()]
            filesystem, path = open_address(self.place)
            with remote_errors(self.place):
                filesystem.invalidate_cache(path)  # other processes write there too
                return [str(one).rpartition("/")[2] for one in filesystem.ls(path, detail=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(str(self), error) from error

    @contextlib.contextmanager
    def _appearing(self, name: str) -> Iterator[BinaryIO]:
        """Write a file that appears when it is whole."""
        with writing_to(str(self), instead=OTHER):
            if isinstance(self.place, Path):
                with replacing(self.place / name) as file:
                    yield file
                return
            with TemporaryFile() as whole:
                yield cast("BinaryIO", whole)
                whole.seek(0)
                filesystem, path = open_address(str(below(self.place, name)))
                # An object store shows an object when it is closed; elsewhere a part that is cut off has no footer.
                with remote_errors(self.place), filesystem.open(path, "wb") as file:
                    shutil.copyfileobj(whole, file)

    def _remove(self, name: str) -> None:
        with writing_to(str(self), instead=OTHER):
            if isinstance(self.place, Path):
                (self.place / name).unlink(missing_ok=True)
                return
            filesystem, path = open_address(str(below(self.place, name)))
            with remote_errors(self.place):
                if filesystem.exists(path):
                    filesystem.rm_file(path)
