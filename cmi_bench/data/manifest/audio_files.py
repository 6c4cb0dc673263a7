"""Find the audio files of a data root."""

import os
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm", ".wma"}
)
ROWS_FILE = "all_test.jsonl"


def audio_below(root: Path) -> list[str]:
    """Return the audio files below a data root, relative to it, in order.

    Hidden folders are left out, and so are folders that are data roots themselves (such as `mini/`).
    """
    found: list[str] = []
    for name, folders, files in os.walk(root, followlinks=True):
        folder = Path(name)
        folders[:] = sorted(
            one for one in folders if not one.startswith(".") and not (folder / one / ROWS_FILE).exists()
        )
        found += [
            (folder / one).relative_to(root).as_posix()
            for one in files
            if Path(one).suffix.lower() in AUDIO_SUFFIXES and not one.startswith(".")
        ]
    return sorted(found)
