"""Fetch files over HTTP: many at once, resumed where they stopped, and under their names only when they are right.

The one fetcher of the package. `huggingface_hub` (2.4) begins a file anew after an interruption and waits without end
for a server that drips; `pooch` (1.9) begins anew as well, and leaves its temporary file behind where it is killed.
"""

import contextlib
import errno
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx2

from cmi_bench.download.http import GO_ON, PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE, FileError, Host, open_url, retry
from cmi_bench.errors import UserError
from cmi_bench.utils.console import BYTES, ProgressBar
from cmi_bench.utils.files import without_credentials

log = logging.getLogger(__name__)

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


PARTIAL = ".partial"
"""Suffix of a file that is not complete yet."""


@dataclass(frozen=True)
class Download:
    """A file to fetch, whose transfer goes on where it stopped."""

    url: str
    target: Path
    host: Host
    size: int | None = None
    """Bytes; None where it is not known in advance."""
    digest: Digest | None = None
    """What its content must come to; without one, a stopped download begins anew."""
    headers: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Path], object] | None = None
    """Looks at what has come; raises a UserError that says why it is none of what is wanted."""

    @property
    def partial(self) -> Path:
        """Where it grows."""
        return self.target.with_name(self.target.name + PARTIAL)

    @property
    def done(self) -> int:
        """How many bytes of it an earlier attempt has left."""
        return self.partial.stat().st_size if self.digest is not None and self.partial.is_file() else 0

    @property
    def is_there(self) -> bool:
        """Whether it was fetched before (an archive that was not unpacked yet)."""
        there = self.digest is not None and self.target.is_file() and self.target.stat().st_size == self.size
        return there and not self.problem(self.target)

    def problem(self, file: Path) -> str:
        """Describe how a file differs from what was promised; nothing where it does not."""
        size = file.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size:,} bytes instead of {self.size:,}"
        if self.size is None and size > LARGEST_UNKNOWN:
            return f"it has more than {LARGEST_UNKNOWN:,} bytes"
        if self.digest is not None and (found := digest_of(file, self.digest.algorithm)) != self.digest:
            return f"its {found.algorithm.upper()} is {found.value}, not {self.digest.value}"
        try:
            if self.check is not None:
                self.check(file)
        except UserError as error:
            return error.what.rstrip(".")
        return ""


class StoppedError(Exception):
    """Another file's failure, or the user, has stopped this one."""


ATTEMPTS_AT_CONTENT = 2
"""A file whose content is wrong is fetched once more."""
SLOWEST = 1000
"""Bytes per second; a transfer that is slower over a whole `WINDOW` counts as a broken connection."""
WINDOW = 60.0
"""Seconds."""
LARGEST_UNKNOWN = 2**30
"""Bytes of a file whose size is not known in advance."""


def no_space(path: Path, error: OSError) -> UserError:
    """Return the error for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"There is no space left for {path}.", f"Make room, or choose another folder with data.root=...; {GO_ON}."
        )
    return UserError(f"{path} cannot be written: {error.strerror}.", "Choose another folder with data.root=...")


def fetch(client: httpx2.Client, item: Download, arrived: Callable[[int], None], stop: threading.Event) -> None:
    """Fetch a file, or the rest of one.

    Args:
        client: The connection pool.
        item: What to fetch, and what it must be.
        arrived: Told the number of bytes that have come; a negative one if some have to come again.
        stop: Ends the transfer when set.

    Raises:
        UserError: It cannot be had (what has come stays), or is not what was promised, twice (nothing of it stays).
        StoppedError: `stop` was set.
    """
    problem = ""
    try:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS_AT_CONTENT):
            _transfer_all(client, item, arrived, stop)
            problem = item.problem(item.partial)
            if not problem:
                item.partial.replace(item.target)
                return
            log.debug("%s: %s.", item.url, problem)
            arrived(-item.partial.stat().st_size)
            item.partial.unlink()
    except OSError as error:
        raise no_space(item.target, error) from error
    raise FileError(
        f"{item.target.name} from {item.host.name} is not what was promised: {problem}.",
        f"It was cut off or changed upstream, or on its way: try again later. {item.host.mirror}",
    )


def _transfer_all(client: httpx2.Client, item: Download, arrived: Callable[[int], None], stop: threading.Event) -> None:
    """Let all of a file come, however often the connection breaks, as long as it brings something."""
    marks = [item.done]

    def progressed() -> bool:
        marks.append(item.done)
        return marks[-1] - marks[-2] >= SLOWEST * WINDOW

    retry(lambda: _transfer(client, item, arrived, stop), stop=stop, progressed=progressed)


def _transfer(client: httpx2.Client, item: Download, arrived: Callable[[int], None], stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedError
    if item.digest is None or (item.size is not None and item.done > item.size):
        item.partial.unlink(missing_ok=True)  # it cannot be the start of the file
    start = item.done
    if start and start == item.size:
        return
    # Compressed on the way, a file could not be resumed.
    headers = {"Accept-Encoding": "identity", **item.headers} | ({"Range": f"bytes={start}-"} if start else {})
    with contextlib.closing(open_url(client, item.url, item.host, headers)) as response:
        if response.status_code == RANGE_NOT_SATISFIABLE:
            return  # there is no more: whether that is enough, the checks say
        is_rest = start > 0 and response.status_code == PARTIAL_CONTENT
        if start and not is_rest:
            arrived(-start)
        try:
            _write(response, item, arrived, stop, append=is_rest)
        except httpx2.HTTPError as error:
            raise item.host.unreachable(error) from error


def _write(
    response: httpx2.Response, item: Download, arrived: Callable[[int], None], stop: threading.Event, *, append: bool
) -> None:
    most = item.size if item.size is not None else LARGEST_UNKNOWN
    began, count = time.monotonic(), 0
    with item.partial.open("ab" if append else "wb") as file:
        for chunk in response.iter_bytes():  # as they arrive: what was received is not lost with the connection
            if stop.is_set():
                raise StoppedError
            file.write(chunk)
            arrived(len(chunk))
            if file.tell() > most:
                return  # more than was promised: the checks say so
            count += len(chunk)
            seconds = time.monotonic() - began
            if seconds > WINDOW:
                if count < SLOWEST * seconds:
                    slow = f"less than {SLOWEST:,} bytes per second of {without_credentials(item.url)} arrive"
                    raise item.host.unreachable(httpx2.ReadTimeout(slow))
                began, count = time.monotonic(), 0
        if item.size is not None and file.tell() < item.size:  # a server that closes early, without a word
            raise item.host.unreachable(httpx2.ReadError(f"{item.url} ended at {file.tell():,} of {item.size:,} bytes"))


SHOWN = 5
"""Files named in a message; the others are counted."""


def fetch_all(client: httpx2.Client, items: Sequence[Download], *, jobs: int) -> dict[Path, BaseException]:
    """Fetch files in parallel, the large ones first, with a bar of bytes, rate and time left.

    What is wrong with one file does not keep the others from coming; what is wrong with the network, the login
    or the disk ends it all. What has come stays.

    Returns:
        Why files could not be had, by target; see `raise_first`.
    """
    stop = threading.Event()
    bar = ProgressBar(
        f"fetching {len(items)} file{'s' * (len(items) != 1)}",
        sum(item.size or 0 for item in items),
        unit=BYTES,
        done=sum(item.done for item in items),
    )
    with bar, ThreadPoolExecutor(jobs) as pool:

        def one(item: Download) -> None:
            try:
                fetch(client, item, bar.advance, stop)
            except FileError:
                raise
            except BaseException:
                stop.set()
                raise

        ordered = sorted(items, key=lambda item: -(item.size or 0))
        pending = [pool.submit(one, item) for item in ordered]
        try:
            wait(pending)
        except BaseException:  # Ctrl-C: the threads end at their next chunk
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    failures = ((item.target, job.exception()) for item, job in zip(ordered, pending, strict=True))
    return {target: error for target, error in failures if error is not None}


def raise_first(failures: Mapping[Path, BaseException]) -> None:
    """Raise what is wrong with all files, or all that is wrong with single ones, as one error; or pass."""
    errors = [error for error in failures.values() if not isinstance(error, StoppedError)]
    problems = [error for error in errors if isinstance(error, FileError)]
    for error in errors:
        if error not in problems:
            raise error
    if len(problems) == 1:
        raise problems[0]
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        listed = "\n".join(problem.what for problem in problems[:SHOWN])
        raise UserError(f"{len(problems)} files could not be had:\n{listed}{more}", problems[0].hint)
