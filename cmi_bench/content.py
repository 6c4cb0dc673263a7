"""Content addresses: names that follow from what is named, and from nothing else."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def content_key(**parts: object) -> str:
    """Return the address of what is described by plain values: SHA-256, hexadecimal.

    >>> content_key(audio="ab", view="final") == content_key(view="final", audio="ab")
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def files_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the files' contents, whatever their names: hexadecimal."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
