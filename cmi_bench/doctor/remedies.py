"""The commands that mend things, with the words that the doctor was called with."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OWN_WORDS = ("task=", "doctor.", "hydra.", "+device=", "tracking")


@dataclass(frozen=True)
class Remedies:
    """How this user gets things."""

    words: Sequence[str]
    """The overrides on the command line."""
    root: Path
    is_synthesised: bool
    """The data make themselves."""

    @property
    def prepare(self) -> str:
        """The command that fetches whatever the same words need."""
        kept = [shlex.quote(word) for word in self.words if not word.startswith(OWN_WORDS)]
        return " ".join(["python run.py task=prepare", *kept])

    @property
    def audio(self) -> str:
        """How missing or damaged audio is had again."""
        return (
            f"rm -r {shlex.quote(str(self.root))}; the next run makes it anew" if self.is_synthesised else self.prepare
        )

    def rows(self, file: Path) -> str:
        """How a rows' file is had again."""
        return self.audio if self.is_synthesised else f"rm {shlex.quote(str(file))}; {self.prepare}"
