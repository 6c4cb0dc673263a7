"""Checksums of files, by whatever algorithm the place that they come from gives."""

import hashlib
from pathlib import Path
from typing import NamedTuple

GIT = "git"
"""The checksum of a small file on the Hugging Face hub: SHA-1 over a header with its size, and its content."""


class Digest(NamedTuple):
    """A checksum."""

    algorithm: str
    """"git", or a name that `hashlib` knows, such as "sha256" or "md5"."""
    value: str
    """Hexadecimal."""

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


def digest_of(path: Path, algorithm: str = "sha256") -> Digest:
    """Return the checksum of a file's content."""
    with path.open("rb") as file:
        if algorithm != GIT:
            return Digest(algorithm, hashlib.file_digest(file, algorithm).hexdigest())
        # SHA-1 is what git uses; it is a checksum here, not a signature.
        start = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        return Digest(GIT, hashlib.file_digest(file, start.copy).hexdigest())


def parse_digest(text: str) -> Digest:
    """Read a checksum written as "md5:0123...".

    Raises:
        ValueError: It is not written so, or the algorithm is unknown.
    """
    algorithm, colon, value = text.partition(":")
    if not colon or not value or algorithm not in {GIT, *hashlib.algorithms_available}:
        raise ValueError(f"{text!r} is no checksum of a known kind")
    return Digest(algorithm, value.lower())
