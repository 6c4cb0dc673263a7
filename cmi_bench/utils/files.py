"""Files: only regular ones read, written whole or not at all, known by their content, shown without passwords."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path
from urllib.parse import unquote

from cmi_bench.errors import RunError

NO_FOLDER = frozenset({errno.EEXIST, errno.ENOTDIR})
"""Errors of making a folder that say that a file is there."""


def reason_of(error: OSError) -> str:
    """Return what an operating system's error says, for people."""
    if error.errno in NO_FOLDER:
        return "a file is where a folder is needed"
    return error.strerror or str(error)


def write_text_atomic(path: Path, text: str) -> Path:
    """Write UTF-8 text so that no reader ever sees half a file, whatever happens meanwhile.

    Args:
        path: Where to; missing folders are made, an existing file is replaced.
        text: Written as it is: line ends are not translated.

    Returns:
        The path.
    """
    return write_bytes_atomic(path, text.encode("utf-8"))


def json_text(document: object, *, allow_nan: bool = False) -> str:
    """Return an indented JSON document with its last line end, as it is written to files.

    A half of a surrogate pair, which UTF-8 cannot hold, is written as JSON's escape and is read back as it was.

    Args:
        document: Plain values.
        allow_nan: Write NaN and infinity by names that Python reads and other readers of JSON may not.

    Raises:
        ValueError: NaN or infinity that is not allowed.
    """
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=allow_nan) + "\n"
    return text.encode(errors="backslashreplace").decode()


def write_bytes_atomic(path: Path, content: bytes) -> Path:
    """Write bytes; otherwise as `write_text_atomic`."""
    with replacing(path) as file:
        file.write(content)
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BufferedWriter]:
    """Write a file bit by bit that appears, or takes another's place, when the block ends well and the disk has it.

    What a process that was killed had written of the same file is removed.

    Args:
        path: Where to; missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(path)
    # In the same folder, as a rename is atomic only within a file system. Not from `tempfile`, whose
    # files only their owner may read.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _open_locked(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)  # still locked: nobody else takes it for a killed process's
    except OSError as error:
        error.filename = str(path)  # a write that fails names no file, and the temporary one tells nobody anything
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _open_locked(path: Path) -> BufferedWriter:
    """Open a new file for writing, with a lock that ends with the process; without it where a disk has no locks."""
    while True:
        file = path.open("wb")
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # removed before it was locked


def _remove_unfinished(path: Path) -> None:
    """Remove what processes that were killed have written of a file: what nobody has locked."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


@contextlib.contextmanager
def writing_to(folder: Path | str, *, instead: str) -> Iterator[None]:
    """Turn an operating system's refusal to write into a message.

    Args:
        folder: Where something is written.
        instead: What the user can do besides making room.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"The disk that holds {folder} is full." if full else f"Cannot write to {folder}: {error.strerror}."
        raise RunError(
            what, f"{'Make room' if full else 'Check its permissions'}, or {instead}; then run again: it goes on."
        ) from error


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading. Nothing else is opened: a pipe or a device may never begin, or never end.

    Raises:
        OSError: The file is missing, unreadable, of an impossible name or not a regular one; `strerror` says which.
    """
    try:
        _check_regular(Path(path).stat(), path)
        # Not blocking, and checked again: another file may have taken its place meanwhile.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except ValueError as error:  # no name that an operating system could have
        raise OSError(errno.EINVAL, f"Not a file's name ({error})", str(path)) from error
    try:
        _check_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def _check_regular(status: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"Not a regular file but {kind}", str(path))


def is_regular(path: str | Path) -> bool:
    """Tell whether a regular file is there; a name that is impossible or too long is no file's."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: The file cannot be read, or is no regular one.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the files' contents, whatever their names, in hexadecimal."""
    whole = hashlib.sha256()
    for path in files:
        whole.update(bytes.fromhex(file_digest(path)))
    return whole.hexdigest()


def content_key(**parts: object) -> str:
    """Return the content address of what plain values describe: SHA-256, in hexadecimal.

    >>> content_key(audio="ab", view="final") == content_key(view="final", audio="ab")
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def text_number(text: str) -> int:
    """Return a number of 64 bits that stands for a text: of a million texts, two share one once in 37 million times."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), signed=True)


_CREDENTIALS = re.compile(r"://[^/?#\s]+@")


def without_credentials(uri: str) -> str:
    """Return a URI with `user:password@` blotted out.

    >>> without_credentials("https://me:secret@mirror.example/data")
    'https://***@mirror.example/data'
    """
    return _CREDENTIALS.sub("://***@", uri)


def hide_credentials(text: str, uri: str | None) -> str:
    """Return text without the user and password of a store's address, however it came to quote them.

    >>> hide_credentials("no route to http://me:p%40ss@host, user me:p@ss", "http://me:p%40ss@host")
    'no route to http://***@host, user ***'
    """
    user_info = (uri or "").partition("://")[2].rpartition("@")[0]
    password = user_info.partition(":")[2]
    for secret in (user_info, unquote(user_info), password, unquote(password)):
        if secret:
            text = text.replace(secret, "***")
    return without_credentials(text)
