"""The manifest's file: one Parquet table, one row per audio file."""

import hashlib
import io
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cmi_bench.data.manifest.record import AudioRecord
from cmi_bench.reporting.atomic import write_bytes_atomic

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

VERSION = "1"
"""Raise it with any change of what a column means: files of another version are made anew."""
VERSION_KEY = b"cmi_bench_manifest"


@dataclass(frozen=True)
class Manifest:
    """What is known of a data root's audio files."""

    records: Mapping[str, AudioRecord] = field(default_factory=dict)
    """By path, relative to the data root."""

    def audio_digest(self, paths: Iterable[str]) -> str:
        """Return one SHA-256 for the contents of files and their names; it is the same on every machine.

        Raises:
            KeyError: A file has no record.
        """
        lines = "".join(f"{path}\t{self.records[path].sha256}\n" for path in sorted(set(paths)))
        return hashlib.sha256(lines.encode()).hexdigest()


def read_manifest(file: Path) -> Manifest:
    """Read a manifest; where there is none, or one that cannot be used, it is empty."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
    except FileNotFoundError:
        return Manifest()
    except (OSError, pyarrow.ArrowException) as error:
        log.warning("%s cannot be read and is made anew: %s", file, error)
        return Manifest()
    if (table.schema.metadata or {}).get(VERSION_KEY) != VERSION.encode():
        log.info("%s is of another version and is made anew.", file)
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
        "heard_seconds": number,
        "peak": number,
        "error": text,
    }
    return pyarrow.schema(list(columns.items()), metadata={VERSION_KEY: VERSION.encode()})
