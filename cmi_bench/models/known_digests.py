"""Digests of weights, kept from run to run: gigabytes are read once, and not whenever a model is built."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cmi_bench.content import content_key
from cmi_bench.reporting.atomic import write_text_atomic

log = logging.getLogger(__name__)

SETTLED = 2.0
"""Seconds for which a file must have been left alone: one that changes again within a tick of the file system's clock
would keep its times."""
DIGEST = re.compile(b"[0-9a-f]{64}")


def known_digest(folder: Path | None, files: Sequence[Path], make: Callable[[], str], **what: object) -> str:
    """Return a digest of files, made anew only where one of them was written to, moved or exchanged.

    A file is taken for unchanged while path, inode, size and both of its times (of its content, and of its last change
    of any kind, which no program can set) are what they were. What is kept is one small file for each digest; a damaged
    one is made anew.

    Args:
        folder: Where digests are kept; None keeps nothing.
        files: What is read to make it.
        make: Makes it: SHA-256, hexadecimal.
        what: Plain values that say what of the files is digested.
    """
    if folder is None:
        return make()
    key = content_key(files=[_state(file) for file in files], what=what)
    path = folder / key
    found = path.read_bytes() if path.is_file() else b""
    if DIGEST.fullmatch(found):
        return found.decode()
    digest = make()
    unchanged = key == content_key(files=[_state(file) for file in files], what=what)
    if unchanged and all(time.time() - file.stat().st_ctime > SETTLED for file in files):
        _keep(path, digest)
    return digest


def _state(file: Path) -> list[str | int]:
    status = file.stat()
    return [str(file.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _keep(path: Path, digest: str) -> None:
    try:
        write_text_atomic(path, digest)
    except OSError as error:
        log.warning("%s cannot be written (%s); the next run reads the weights again.", path, error.strerror)
