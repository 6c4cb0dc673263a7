"""The mark of a finished mini benchmark: which version, and what must be there."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

STAMP_FILE = "mini_stamp.json"
AUDIO_SUFFIXES = frozenset({".wav", ".mp3"})


@dataclass(frozen=True)
class Stamp:
    """What a folder holds."""

    version: str
    rows_sha256: str
    """Digest of the rows' file."""
    files: int
    """Number of audio files."""
    bytes: int
    """Size of all audio files together: a file that was cut off shows."""


def _describe(root: Path, rows_file: Path, version: str) -> Stamp:
    sizes = [path.stat().st_size for path in root.rglob("*") if path.suffix in AUDIO_SUFFIXES]
    return Stamp(version, hashlib.sha256(rows_file.read_bytes()).hexdigest(), len(sizes), sum(sizes))


def write_stamp(root: Path, rows_file: Path, version: str) -> None:
    """Mark the folder as finished, as it is now."""
    stamp = _describe(root, rows_file, version)
    (root / STAMP_FILE).write_text(json.dumps(asdict(stamp), indent=2) + "\n", encoding="utf-8")


def is_intact(root: Path, rows_file: Path, version: str) -> bool:
    """Tell whether the folder is a finished one of this version with all its files at full size."""
    try:
        stamp = json.loads((root / STAMP_FILE).read_text(encoding="utf-8"))
        return bool(stamp == asdict(_describe(root, rows_file, version)))
    except (OSError, ValueError):
        return False
