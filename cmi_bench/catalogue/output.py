"""The folder of a catalogue's scores: part-000012.parquet and its like, each whole or not there."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cmi_bench.catalogue.parts import METADATA, PartFacts
from cmi_bench.utils.files import replacing, writing_to


def part_name(number: int) -> str:
    """Return a part's file.

    >>> part_name(12)
    'part-000012.parquet'
    """
    return f"part-{number:06d}.parquet"


class ScoreFolder:
    """Where parts are written to and looked for."""

    def __init__(self, place: str) -> None:
        self.place = place

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part, which appears when it is whole.

        Args:
            number: The part's.
            table: From `part_table`.

        Raises:
            RunError: The disk is full, or the folder cannot be written to.
        """
        folder = Path(self.place)
        with writing_to(folder, instead="choose another --out"), replacing(folder / part_name(number)) as file:
            parquet.write_table(table, file, compression="zstd")

    def facts(self) -> Iterator[PartFacts]:
        """Yield what the parts that are there say of themselves, in order; those that cannot be read are not there."""
        for path in sorted(Path(self.place).glob("part-*.parquet")):
            try:
                metadata = parquet.read_schema(path).metadata or {}
                yield PartFacts.from_json(metadata.get(METADATA, b""))
            except (OSError, pa.ArrowException, ValueError):
                continue
