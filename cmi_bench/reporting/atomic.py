"""Write files whole or not at all."""

import os
import uuid
from pathlib import Path


def write_text_atomic(path: Path, text: str) -> Path:
    """Write UTF-8 text so that no reader ever sees half a file, whatever happens meanwhile.

    Args:
        path: Where to; missing folders are made, an existing file is replaced.
        text: Written as it is: line ends are not translated.

    Returns:
        The path.
    """
    return write_bytes_atomic(path, text.encode("utf-8"))


def write_bytes_atomic(path: Path, content: bytes) -> Path:
    """Write bytes; otherwise as `write_text_atomic`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as a rename is atomic only within a file system. Not from `tempfile`, whose
    # files only their owner may read.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
