"""Where a page finds the audio of a row: under which root it lies, and its address seen from the page."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote


class FoundAudio(NamedTuple):
    """A clip of a row on this machine."""

    file: Path | None
    """None where there is none to show."""
    problem: str = ""
    """Why there is none."""


def find_audio(audio: str, roots: Sequence[Path], *, allow_outside: bool = False) -> FoundAudio:
    """Find a clip under the first root that has it.

    Args:
        audio: The row's path, relative to a root, or absolute.
        roots: Data roots.
        allow_outside: Whether the clip may lie outside of the root; see `data.rows.leads_outside`.
    """
    from cmi_bench.data.rows import leads_outside  # with the configuration's types: a command's help has no rows

    try:
        allowed = [root for root in roots if allow_outside or not leads_outside(root, audio)]
        found = next((root / audio for root in allowed if (root / audio).is_file()), None)
    except (OSError, ValueError):  # a name that is too long, NUL in it, or a folder that may not be read
        return FoundAudio(None, "cannot be read")
    if roots and not allowed:
        return FoundAudio(None, "lies outside of data.root; data.allow_outside=true links to it")
    return FoundAudio(found, "" if found else "not found under data.root")


class AudioLink(NamedTuple):
    """A clip of a row, for the page."""

    path: str
    """As in the row."""
    url: str | None
    """Relative to the page; None where the page cannot reach the file."""
    problem: str = ""
    """Why it cannot."""


def audio_link(audio: str, roots: Sequence[Path], folder: Path, *, allow_outside: bool = False) -> AudioLink:
    """Find a clip, seen from the page's folder.

    Args:
        audio: The row's path, relative to a root, or absolute.
        roots: Data roots.
        folder: Where the page is.
        allow_outside: See `find_audio`.
    """
    found, problem = find_audio(audio, roots, allow_outside=allow_outside)
    if found is None:
        return AudioLink(audio, None, problem)
    try:
        # Not resolved: a browser goes up the path as it is written, whatever the links on the way.
        relative = os.path.relpath(found.absolute(), folder.absolute())
    except ValueError:  # on another drive of a Windows machine
        return AudioLink(audio, None, "on another drive, which no relative path reaches")
    return AudioLink(audio, quote(os.fsencode(Path(relative).as_posix())))
