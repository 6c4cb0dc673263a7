"""The audio of a page's rows: links to the files, the files themselves within the page, or none."""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from cmi_bench.errors import UserError
from cmi_bench.reporting.html.audio import audio_link, find_audio
from cmi_bench.utils.files import open_regular

MAX_EMBEDDED = 200 * 10**6
"""Bytes of audio within a page; browsers open larger ones slowly, or not at all."""


class AudioMode(StrEnum):
    """Where a page's audio is."""

    LINK = "link"
    EMBED = "embed"
    NONE = "none"


class EmbeddedFile(NamedTuple):
    """A file within the page."""

    media_type: str
    base64: str


@dataclass
class PageAudio:
    """The clips that a page's rows name, each once."""

    mode: AudioMode
    roots: Sequence[Path]
    """What the rows' paths may be relative to, the likeliest first."""
    page_folder: Path
    allow_outside: bool = False
    """Whether clips may lie outside of the roots."""
    own_roots: Mapping[str, Path] = field(default_factory=dict)
    """By dataset, what the paths of tables of the user's own are relative to, where that is known."""
    entries: list[list[str | None]] = field(default_factory=list)
    """Path as in the row, address seen from the page or None, and why there is none."""
    embedded: dict[int, EmbeddedFile] = field(default_factory=dict)
    """By number of the entry."""
    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, audio: str, dataset: str = "") -> int:
        """Return a clip's number among the entries; -1 where the row names none.

        Args:
            audio: As in the row.
            dataset: Whose row it is.

        Raises:
            UserError: More audio than a page can hold.
        """
        if not audio:
            return -1
        own = self.own_roots.get(dataset)
        place = (audio, dataset if own else "")
        if place not in self._numbers:
            self._numbers[place] = len(self.entries)
            self.entries.append(self._entry(audio, [own, *self.roots] if own else self.roots))
        return self._numbers[place]

    def _entry(self, audio: str, roots: Sequence[Path]) -> list[str | None]:
        if self.mode is AudioMode.NONE:
            return [audio, None, ""]
        if self.mode is AudioMode.EMBED:
            return [audio, None, self._embed(audio, roots)]
        link = audio_link(audio, roots, self.page_folder, allow_outside=self.allow_outside)
        return [audio, link.url, link.problem]

    def _embed(self, audio: str, roots: Sequence[Path]) -> str:
        """Take a file in, or return why that is not possible."""
        file, problem = find_audio(audio, roots, allow_outside=self.allow_outside)
        if file is None:
            return problem
        try:
            with open_regular(file) as opened:
                content = opened.read(MAX_EMBEDDED + 1)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        self._bytes += len(content)
        if self._bytes > MAX_EMBEDDED:
            raise UserError(
                f"The rows' audio is more than the {MAX_EMBEDDED // 10**6} MB that a page can hold.",
                "Use --audio link, or fewer rows with --rows.",
            )
        media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self.embedded[len(self.entries)] = EmbeddedFile(media_type, base64.b64encode(content).decode())
        return ""

    @property
    def missing(self) -> list[str]:
        """The clips that the page cannot play and should."""
        return [str(path) for path, _, problem in self.entries if problem]
