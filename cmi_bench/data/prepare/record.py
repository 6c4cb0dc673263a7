"""What has been prepared: kept, so that the next `task=prepare` need ask nobody."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmi_bench.data.prepare.digest import parse_digest
from cmi_bench.data.prepare.work import Content
from cmi_bench.reporting.atomic import write_text_atomic

log = logging.getLogger(__name__)

FOLDER = ".prepare"
"""Folder of the data root for what is no data: records, archives on their way, the lock."""


@dataclass(frozen=True)
class Record:
    """Files of one source, as upstream has them."""

    contents: Mapping[str, Content] = field(default_factory=dict)
    """By path, relative to the data root."""


def record_file(root: Path, slug: str) -> Path:
    """Return where the record of a source is."""
    return root / FOLDER / f"{slug}.json"


def read_record(root: Path, slug: str) -> Record | None:
    """Read the record of a source; None where there is none, or none that can be read."""
    file = record_file(root, slug)
    try:
        files = json.loads(file.read_text(encoding="utf-8"))["files"]
        return Record(
            {path: Content(int(entry["bytes"]), parse_digest(entry["digest"])) for path, entry in files.items()}
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read (%s); upstream is asked again.", file, error)
        return None


def add_to_record(root: Path, slug: str, contents: Mapping[str, Content], *, origin: str) -> None:
    """Record what files of a source hold; other files of the record stay."""
    before = read_record(root, slug)
    known = dict(before.contents if before else {}) | dict(contents)
    files = {path: {"bytes": known[path].bytes, "digest": str(known[path].digest)} for path in sorted(known)}
    write_text_atomic(record_file(root, slug), json.dumps({"origin": origin, "files": files}, indent=1) + "\n")
