"""The folder of a server's temporary files: the audio of requests, whole and known by its digest, until it is answered.

Everything that is scored is a file there, however it came: so its digest, its length and its decoding are those of
`cmi-bench score` on the same bytes, and nobody changes it meanwhile.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import struct
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import BinaryIO, NamedTuple

from filelock import FileLock, Timeout

from cmi_bench.serving.refused import RefusedError
from cmi_bench.serving.wire import ErrorCode
from cmi_bench.utils.files import open_regular

PREFIX = "cmi-bench-serve-"
LOCK = "lock"
BLOCK = 1 << 20
"""Bytes that are copied at a time."""
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
"""The end of a file's name that is kept: it says to some decoders what the file is."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class SpooledAudio(NamedTuple):
    """A file in the spool."""

    path: Path
    name: str
    """What the client calls it, for messages."""
    sha256: str
    """Of the bytes as they came: of raw samples without the header that was put before them."""
    digest: str
    """SHA-256 of the file."""


class SpoolFile:
    """A file of the spool that is being written."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._file: BufferedWriter = path.open("xb")
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Write.

        Raises:
            RefusedError: The disk is full.
        """
        with refusing_full():
            self._file.write(data)
        self._digest.update(data)

    def finished(self) -> SpooledAudio:
        """Return the file, whole.

        Raises:
            RefusedError: The disk is full.
        """
        with refusing_full():
            self._file.close()
        digest = self._digest.hexdigest()
        return SpooledAudio(self.path, self.name, digest, digest)

    def close(self) -> None:
        """Write no more."""
        with contextlib.suppress(OSError):
            self._file.close()


@contextmanager
def refusing_full() -> Iterator[None]:
    """Turn a full disk into an answer."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise RefusedError(ErrorCode.NO_SPACE, "The server's disk is full.", "Tell whoever runs the server.") from error


class RequestFolder:
    """The files of one request, in a folder that goes when nobody holds it any more; any thread may."""

    def __init__(self, path: Path) -> None:
        """Make the folder, held once."""
        with refusing_full():
            path.mkdir()
        self.path = path
        self._holders = 1
        self._lock = threading.Lock()

    def __enter__(self) -> "RequestFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def hold(self) -> "RequestFolder":
        """Keep the folder until one more `release`."""
        with self._lock:
            self._holders += 1
        return self

    def release(self) -> None:
        """Need the folder no more."""
        with self._lock:
            self._holders -= 1
            is_last = not self._holders
        if is_last:
            shutil.rmtree(self.path, ignore_errors=True)

    def new(self, name: str) -> SpoolFile:
        """Begin a file.

        Args:
            name: What the client calls it.
        """
        suffix = SUFFIX.fullmatch(Path(name.replace("\0", "")).suffix)
        with refusing_full():
            return SpoolFile(self.path / f"{uuid.uuid4().hex}{suffix[0] if suffix else ''}", name)

    def as_wav(self, samples: SpooledAudio, *, sample_rate: int, channels: int) -> SpooledAudio:
        """Return raw samples as a WAV file.

        Args:
            samples: float32, little-endian, the channels interleaved.
            sample_rate: Hz.
            channels: How many.

        Raises:
            RefusedError: They are none, or end within a frame; or the disk is full.
        """
        size, frame = samples.path.stat().st_size, 4 * channels
        if not size or size % frame:
            raise RefusedError(
                ErrorCode.UNREADABLE_AUDIO,
                f"{samples.name}: {size} bytes are no whole number of frames of float32, channels: {channels}.",
                "Send float32, little-endian, the channels interleaved, and their number as `channels`.",
            )
        header = wav_header(size, sample_rate=sample_rate, channels=channels)
        with samples.path.open("rb") as source:
            whole = self._copied(f"{samples.name}.wav", source, header=header)
        return whole._replace(name=samples.name, sha256=samples.sha256)

    def copy_below(self, root: Path, path: str, *, max_bytes: int) -> SpooledAudio:
        """Return a copy of a file below another folder.

        Neither `..` nor an absolute path nor a link leads out of it: what counts is where the opened file lies.

        Args:
            root: The folder.
            path: Relative to it.
            max_bytes: Of the file.

        Raises:
            RefusedError: It is not there, no regular file, elsewhere, or too large; or the disk is full.
        """
        what = f"There is no file {path!r} below the audio root."
        missing = RefusedError(ErrorCode.NOT_FOUND, what, "Give a path relative to the server's --audio-root.")
        try:
            source = open_regular(root / path)
        except OSError as error:
            raise missing from error
        with source:
            opened = Path(f"/proc/self/fd/{source.fileno()}")
            if not Path(os.path.realpath(opened if opened.exists() else root / path)).is_relative_to(root.resolve()):
                raise missing
            if os.fstat(source.fileno()).st_size > max_bytes:
                raise RefusedError(
                    ErrorCode.TOO_LARGE, f"{path} has more than {max_bytes:,} bytes.", "GET /models tells the limits."
                )
            return self._copied(path, source)

    def _copied(self, name: str, source: BinaryIO, *, header: bytes = b"") -> SpooledAudio:
        file = self.new(name)
        try:
            file.write(header)
            while block := source.read(BLOCK):
                file.write(block)
            return file.finished()
        finally:
            file.close()


class SpoolFolder:
    """A server's folder of temporary files, which goes with it."""

    def __init__(self) -> None:
        """Make the folder; those of servers that were killed go."""
        remove_abandoned()
        self.folder = Path(mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self.folder / LOCK)
        self._lock.acquire()

    def __enter__(self) -> "SpoolFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def request(self) -> RequestFolder:
        """Return a folder for a request's files.

        Raises:
            RefusedError: The disk is full.
        """
        return RequestFolder(self.folder / uuid.uuid4().hex)


def wav_header(size: int, *, sample_rate: int, channels: int) -> bytes:
    """Return what stands before float32 samples in a WAV file (RIFF, WAVE_FORMAT_IEEE_FLOAT, with a fact chunk).

    Args:
        size: Of the samples, in bytes.
        sample_rate: Hz.
        channels: How many.
    """
    frame = 4 * channels
    form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 3, channels, sample_rate, sample_rate * frame, frame, 32, 0)
    fact = struct.pack("<4sII", b"fact", 4, size // frame)
    data = struct.pack("<4sI", b"data", size)
    body = b"WAVE" + form + fact + data
    return struct.pack("<4sI", b"RIFF", len(body) + size) + body


def remove_abandoned() -> None:
    """Remove the folders that killed servers left: those whose lock nobody holds."""
    for folder in Path(gettempdir()).glob(f"{PREFIX}*"):
        lock = FileLock(folder / LOCK)
        try:
            if not (folder / LOCK).is_file():  # being made at the moment
                continue
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # in use, or another user's
            continue
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)
