"""What makes two rows alike: the same audio, the same clip under another name, the same words.

Validation splits keep rows that are alike on one side, and no row that is like a test row may be learnt from.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from cmi_bench.data import fields
from cmi_bench.data.fields import is_missing
from cmi_bench.data.manifest import update_manifest
from cmi_bench.data.rows import Row
from cmi_bench.utils.console import ItemCount


@lru_cache(maxsize=1 << 16)
def normalised_text(text: str) -> str:
    """Return text without what does not change its meaning: case, kinds of white space, forms of one character.

    >>> normalised_text(" Ａ  calm\\tPIANO piece ")
    'a calm piano piece'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


@lru_cache(maxsize=1 << 16)
def count_words(text: str) -> int:
    """Count words; of scripts without spaces between them (Chinese, Japanese) each character.

    >>> count_words("lo-fi beats"), count_words("平静的钢琴")
    (3, 5)
    """
    return sum(1 for _ in _WORD.finditer(text))


_UNIQUE_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<![0-9a-z])(?=[a-f]*[0-9])[0-9a-f]{16,}", re.I)


def clip_id(row: Row, path: str) -> str | None:
    """Return a name that tells a clip from all others, wherever it lies and however it is encoded; None without one.

    That is what the clip was called upstream, within its dataset (`data.rows.NAMES_FILE`), or a file's name that holds
    a UUID or at least 16 hexadecimal digits. Names such as 12.wav say nothing.
    """
    if path == row.audio_a and not is_missing(original := row.raw.get(fields.ORIGINAL_NAME)):
        return f"{row.dataset.slug}/{PurePosixPath(str(original)).stem.lower()}"
    return _unique_name(path)


@lru_cache(maxsize=1 << 17)
def _unique_name(path: str) -> str | None:
    name = PurePosixPath(path.replace("\\", "/")).stem.lower()
    return name if _UNIQUE_NAME.search(name) else None


def clips_of_row(row: Row) -> tuple[str, ...]:
    """Return the paths of what is judged: one clip or two."""
    return tuple(path for path in (row.audio_a, row.audio_b) if path)


def audio_digests(root: Path, manifest: Path, rows: Iterable[Row]) -> Mapping[str, str]:
    """Return the SHA-256 of the audio that rows name, by its path in them; of files that are not there, none.

    The manifest has most of them. What it lacks is read once for its digest and headers; nothing is decoded.

    Args:
        root: What the rows' paths are relative to.
        manifest: The manifest's file, which is brought up to date.
        rows: Rows.
    """
    paths = dict.fromkeys(path for row in rows for path in row.audio_files)
    known = update_manifest(root, manifest, paths, progress=ItemCount("looking at the audio")).records
    return {path: known[path].sha256 for path in paths if path in known}
