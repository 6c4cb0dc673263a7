"""Check that the audio of a run is there, before anything expensive starts."""

from collections.abc import Iterable
from pathlib import Path

from cmi_bench.data.rows import Row

SHOWN = 5
"""Missing files listed in a message; the count says how many there are."""


def missing_audio(rows: Iterable[Row], root: Path) -> list[str]:
    """Return the files that rows name and the data root lacks, each once, in the rows' order."""
    named = dict.fromkeys(path for row in rows for path in row.audio_files)
    return [path for path in named if not (root / path).is_file()]


def describe_missing(missing: list[str], root: Path) -> str:
    """Return a sentence with the count and the first few of the missing files."""
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    files = "1 audio file is" if len(missing) == 1 else f"{len(missing)} audio files are"
    return f"{files} missing under {root}: {', '.join(missing[:SHOWN])}{more}."
