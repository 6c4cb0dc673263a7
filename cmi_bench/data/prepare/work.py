"""What the sources of data have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from cmi_bench.data.manifest import Manifest
from cmi_bench.data.prepare.digest import Digest
from cmi_bench.data.prepare.fetch import Download


class Content(NamedTuple):
    """What a file of the data root must hold."""

    bytes: int
    digest: Digest


class Need(NamedTuple):
    """The files that a source is asked for."""

    wanted: Sequence[str]
    """All that the rows name, relative to the data root; what is there and right included."""
    wrong: frozenset[str]
    """Those of them that are missing or damaged."""


@dataclass(frozen=True)
class Work:
    """What has to be done for a source."""

    slug: str
    """The source's."""
    name: str
    """What is fetched, for the user."""
    origin: str
    """Where it comes from, for the user."""
    folder: Path
    """Where it goes."""
    downloads: Sequence[Download]
    files: int
    """How many files it makes."""
    unpacked_bytes: int = 0
    """Space that unpacking takes, beside the downloads, as far as is known beforehand."""
    contents: Mapping[str, Content] = field(default_factory=dict)
    """What upstream says that files hold, relative to the data root."""
    finish: Callable[[], Mapping[str, Content]] = dict
    """Unpacks what was fetched; returns what is in the files that it made."""

    @property
    def download_bytes(self) -> int:
        """What is still to come over the network."""
        return sum((item.size or 0) - item.done for item in self.downloads)


class Source(Protocol):
    """Where the files of a folder of the data root come from."""

    @property
    def slug(self) -> str:
        """Name of its record, unique."""

    @property
    def folder(self) -> str:
        """The folder of the data root that is its own."""

    @property
    def is_whole(self) -> bool:
        """Whether all that the source has is wanted, not only what rows name."""

    def find(self, need: Need, manifest: Manifest) -> Work:
        """Ask upstream how to get the files that are wrong.

        Args:
            need: The files.
            manifest: What is there.

        Raises:
            UserError: Upstream cannot be asked, or does not have them.
        """
        ...
