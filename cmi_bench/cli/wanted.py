"""What a command is to score: songs, each with its instruction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Instruction(NamedTuple):
    """What a song was made from."""

    text: str = ""
    lyrics: str = ""
    ref_audio: Path | None = None


@dataclass(frozen=True)
class WantedSong:
    """A song to score."""

    audio: Path
    instruction: Instruction
    name: str
    """How the user calls it."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What stands in the file of requests, carried through to the results."""
