"""From a row's audio path to something a page can play."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote


class AudioLink(NamedTuple):
    """A clip of a row, for the page."""

    path: str
    """As in the row."""
    url: str | None
    """Relative to the page; None where the page cannot reach the file."""
    problem: str = ""
    """Why it cannot."""


def audio_link(audio: str, roots: Sequence[Path], folder: Path) -> AudioLink:
    """Find a clip under the first root that has it, seen from the page's folder.

    Args:
        audio: The row's path, relative to a root, or absolute.
        roots: Data roots.
        folder: Where the page is.
    """
    found = next((root / audio for root in roots if (root / audio).is_file()), None)
    if found is None:
        return AudioLink(audio, None, "not found under data.root")
    try:
        # Not resolved: a browser goes up the path as it is written, whatever the links on the way.
        relative = os.path.relpath(found.absolute(), folder.absolute())
    except ValueError:  # on another drive of a Windows machine
        return AudioLink(audio, None, "on another drive, which no relative path reaches")
    return AudioLink(audio, quote(Path(relative).as_posix()))
