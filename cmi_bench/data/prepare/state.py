"""Which files of the data root are as they should be."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cmi_bench.data.manifest import AudioRecord, Manifest
from cmi_bench.data.manifest.audio_files import AUDIO_SUFFIXES
from cmi_bench.data.prepare.digest import digest_of
from cmi_bench.data.prepare.record import Record
from cmi_bench.data.prepare.work import Content


def wrong_files(root: Path, wanted: Iterable[str], *, manifest: Manifest, record: Record | None) -> frozenset[str]:
    """Return the files that are missing or damaged.

    A file that upstream's record describes must be what it says. Without a record (somebody else has filled the
    folder) a file is taken as it is, unless it cannot be heard to its end.

    Args:
        root: The data root.
        wanted: Files, relative to it.
        manifest: What is there; up to date for these files.
        record: What upstream has, as far as that is known.
    """
    contents: Mapping[str, Content] = record.contents if record else {}
    return frozenset(
        path for path in wanted if not _is_right(root, path, manifest.records.get(path), contents.get(path))
    )


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
