"""What sources have in common whose files come in an archive: it is fetched, unpacked, and removed."""

from collections.abc import Mapping
from pathlib import Path

from cmi_bench.data.prepare.digest import digest_of
from cmi_bench.data.prepare.record import FOLDER
from cmi_bench.data.prepare.work import Content


def archive_folder(root: Path, slug: str) -> Path:
    """Return where the archives of a source are while they are needed."""
    return root / FOLDER / slug


def contents_of(root: Path, paths: Mapping[str, Path] | list[str]) -> dict[str, Content]:
    """Return what files of the data root hold."""
    return {path: Content((root / path).stat().st_size, digest_of(root / path)) for path in paths}
