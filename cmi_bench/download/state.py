"""The state of a data root: what it has to hold, what of it is missing or damaged, and whether the rest fits.

What upstream promised of files is recorded, so that the next `task=prepare` need ask nobody.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from rich.filesize import decimal

from cmi_bench.data.audio_table import AudioRecord
from cmi_bench.data.manifest import AUDIO_SUFFIXES, Manifest
from cmi_bench.download.fetch import Digest, Download, digest_of, parse_digest
from cmi_bench.errors import UserError
from cmi_bench.utils.files import write_text_atomic

log = logging.getLogger(__name__)


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


FOLDER = ".prepare"
"""Folder of the data root for what is no data: records, archives on their way, the lock."""


def record_file(root: Path, slug: str) -> Path:
    """Return where the record of a source is."""
    return root / FOLDER / f"{slug}.json"


def read_record(root: Path, slug: str) -> dict[str, Content] | None:
    """Return what the files of a source hold, by path relative to the data root; None where it is not recorded."""
    file = record_file(root, slug)
    try:
        files = json.loads(file.read_text(encoding="utf-8"))["files"]
        return {path: Content(int(entry["bytes"]), parse_digest(entry["digest"])) for path, entry in files.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read (%s); upstream is asked again.", file, error)
        return None


def add_to_record(root: Path, slug: str, contents: Mapping[str, Content], *, origin: str) -> None:
    """Record what files of a source hold; other files of the record stay."""
    known = (read_record(root, slug) or {}) | dict(contents)
    files = {path: {"bytes": known[path].bytes, "digest": str(known[path].digest)} for path in sorted(known)}
    write_text_atomic(record_file(root, slug), json.dumps({"origin": origin, "files": files}, indent=1) + "\n")


def wrong_files(
    root: Path, wanted: Iterable[str], *, manifest: Manifest, record: Mapping[str, Content]
) -> frozenset[str]:
    """Return the files that are missing or damaged.

    A file that upstream's record describes must be what it says. Without a record (somebody else has filled the
    folder) a file is taken as it is, unless it cannot be decoded to its end.

    Args:
        root: The data root.
        wanted: Files, relative to it.
        manifest: What is there; up to date for these files.
        record: What upstream has, as far as that is known.
    """
    return frozenset(path for path in wanted if not _is_right(root, path, manifest.records.get(path), record.get(path)))


def holds(root: Path, path: str, known: AudioRecord | None, content: Content) -> bool:
    """Tell whether a file is there with the content that upstream gives it."""
    file = root / path
    if not file.is_file() or file.stat().st_size != content.bytes:
        return False
    if known is not None and content.digest.algorithm == "sha256":
        return known.sha256 == content.digest.value
    return digest_of(file, content.digest.algorithm) == content.digest


def _is_right(root: Path, path: str, known: AudioRecord | None, content: Content | None) -> bool:
    if content is not None:
        return holds(root, path, known, content)
    if Path(path).suffix.lower() not in AUDIO_SUFFIXES:
        return (root / path).is_file()
    return known is not None and known.error is None and not known.is_cut


def is_inside(path: str) -> bool:
    """Tell whether a relative path stays in the folder that it is relative to, by its words alone.

    >>> is_inside("human_eval/music/a.wav"), is_inside("../a.wav"), is_inside("music/../../a.wav"), is_inside("/a.wav")
    (True, False, False, False)
    """
    slashed = path.replace("\\", "/")
    drive = len(slashed) > 1 and slashed[1] == ":"
    return bool(slashed) and not slashed.startswith("/") and not drive and ".." not in PurePosixPath(slashed).parts


def inside(root: Path, path: str, *, named_in: str) -> Path:
    """Return a file of the data root.

    Raises:
        UserError: The path leads out of it.
    """
    if not is_inside(path):
        raise UserError(
            f"{named_in} names {path!r}, which leads out of its folder.", "Do not use it; get it again from its origin."
        )
    return root / path


RESERVE = 256 * 2**20
"""Bytes that are left free for everybody else."""


def free_bytes(folder: Path) -> int:
    """Return the free space where a folder is, or is to be made."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def check_space(folder: Path, needed: int, *, what: str) -> None:
    """See whether there is room for something.

    Raises:
        UserError: There is not.
    """
    free = free_bytes(folder)
    if needed and needed + RESERVE > free:
        raise UserError(
            f"There is not enough space at {folder} for {what}: {decimal(needed)} are needed, {decimal(free)} free.",
            "Make room, choose another folder with data.root=..., or prepare a part, such as subset=pam.",
        )
