"""Fetch files over HTTP: many at once, resumed where they stopped, and under their names only when they are right.

`pooch` decides whether a file has to come, checks it and moves it to its name; `Download` is what it downloads with,
because its own downloader begins a file anew after an interruption and knows nothing of servers that ask to wait.
"""

import errno
import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx2
import pooch
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # not in its __all__

from cmi_bench import __version__
from cmi_bench.errors import UserError
from cmi_bench.utils.console import BYTES, ProgressBar
from cmi_bench.utils.files import without_credentials

log = logging.getLogger(__name__)
pooch.get_logger().setLevel(logging.WARNING)  # it tells on the terminal what a bar tells here

GO_ON = "the same command goes on where it stopped"
NO_LOGIN, NO_ACCESS, NOT_FOUND, GONE, TOO_MANY = 401, 403, 404, 410, 429
TEMPORARY = frozenset({408, 425, TOO_MANY, 500, 502, 503, 504})
"""Answers that another attempt may change."""


class FileError(UserError):
    """Something wrong with one file only: the others can still be fetched."""


@dataclass(frozen=True)
class Host:
    """A place that files come from."""

    name: str
    """In words, such as "Zenodo"."""
    setting: str
    """The setting that points to a mirror of it."""
    login: str = ""
    """What to do where it wants a login."""

    def refused(self, status: int, url: str) -> UserError:
        """Return the error for an HTTP status that is final."""
        shown = without_credentials(url)
        if status in (NO_LOGIN, NO_ACCESS):
            return UserError(
                f"{self.name} does not give {shown} without a login ({status}).", self.login or self.mirror
            )
        if status in (NOT_FOUND, GONE):
            return FileError(
                f"{self.name} has no {shown} (any more): it was changed upstream.", f"Look for it there. {self.mirror}"
            )
        return UserError(f"{self.name} answers {status} to {shown}.", f"Try again later: {GO_ON}. {self.mirror}")

    def busy(self, status: int, url: str) -> UserError:
        """Return the error for a temporary HTTP status that has lasted for too long."""
        what = "asks for fewer requests" if status == TOO_MANY else "does not work at the moment"
        fewer = " With fewer at a time: jobs=2." if status == TOO_MANY else ""
        return UserError(
            f"{self.name} {what} ({status} for {without_credentials(url)}).", f"Try again later: {GO_ON}.{fewer}"
        )

    def unreachable(self, reason: str) -> UserError:
        """Return the error for a network that does not get there."""
        return UserError(
            f"{self.name} cannot be reached: {reason}",
            f"Check the network (and HTTPS_PROXY, if it needs one); then {GO_ON}. {self.mirror}",
        )

    @property
    def mirror(self) -> str:
        """How to use another place."""
        return f"A mirror is used with {self.setting}=https://..."


def no_space(path: Path, error: OSError) -> UserError:
    """Return the error for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"There is no space left for {path}.", f"Make room, or choose another folder with data.root=...; {GO_ON}."
        )
    return UserError(f"{path} cannot be written: {error.strerror}.", "Choose another folder with data.root=...")


ATTEMPTS = 5
CONNECTION_ATTEMPTS = 3
"""Fewer where not even a connection is made: then there is probably no network."""
FIRST_WAIT = 1.0
"""Seconds before the second attempt; twice as long before each further one."""
LONGEST_WAIT = 330.0
"""Seconds, a little more than the hub counts requests over; where longer is asked for, the user decides."""


class TemporaryError(Exception):
    """A request that failed and may succeed another time."""

    def __init__(self, final: UserError, *, wait: float | None = None, attempts: int = ATTEMPTS) -> None:
        super().__init__(final)
        self.final = final
        """What to raise if it never does."""
        self.wait = wait
        """Seconds that the server asks for; None where it does not."""
        self.attempts = attempts
        """How many failures in a row are enough."""


class Patience:
    """Counts the failures in a row, and waits after each."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()
        self.failures = 0

    def progress(self) -> None:
        """Begin to count anew: something has arrived."""
        self.failures = 0

    def wait(self, failure: TemporaryError) -> None:
        """Wait for the next attempt.

        Raises:
            UserError: There were enough, or the server wants to be left alone for too long.
        """
        self.failures += 1
        seconds = FIRST_WAIT * 2 ** (self.failures - 1) if failure.wait is None else failure.wait
        if self.failures >= failure.attempts or seconds > LONGEST_WAIT:
            raise failure.final
        log.debug("%s Trying again in %.0f s.", failure.final.what, seconds)
        if seconds > 2 * FIRST_WAIT:
            log.info("%s Waiting %.0f s.", failure.final.what, seconds)
        pause(self.stop, seconds)


def pause(stop: threading.Event, seconds: float) -> None:
    """Wait, but not after `stop` is set."""
    stop.wait(seconds)


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After`, or the hub's `RateLimit`, asks for; None where neither gives a number."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if value.isdigit():
        return float(value)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def get_json(client: httpx2.Client, url: str, host: Host) -> object:
    """Return the JSON document at an address.

    Raises:
        UserError: It cannot be had, or is no JSON.
    """
    patience = Patience()
    while True:
        try:
            return _get(client, url, host).json()
        except TemporaryError as failure:
            patience.wait(failure)
        except ValueError as error:
            raise UserError(f"{host.name} answers something that is no JSON: {error}", host.mirror) from error


def _get(client: httpx2.Client, url: str, host: Host) -> httpx2.Response:
    try:
        response = client.get(url)
    except httpx2.TransportError as error:
        raise unreachable(host, error) from error
    check_status(response, host, url)
    return response


def check_status(response: httpx2.Response, host: Host, url: str) -> None:
    """Pass over a good answer.

    Raises:
        TemporaryError: The status is temporary.
        UserError: It is final.
    """
    if response.status_code in TEMPORARY:
        wait = asked_to_wait(response.headers)
        raise TemporaryError(host.busy(response.status_code, url), wait=wait)
    if not response.is_success:
        raise host.refused(response.status_code, url)


def unreachable(host: Host, error: httpx2.TransportError) -> TemporaryError:
    """Return the failure of a connection."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    no_connection = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.UnsupportedProtocol)
    return TemporaryError(host.unreachable(f"{reason}."), attempts=CONNECTION_ATTEMPTS if no_connection else ATTEMPTS)


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
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416


class StoppedError(Exception):
    """Another file's failure, or the user, has stopped this one."""


class Item(Protocol):
    """A file to fetch, in whichever way."""

    @property
    def target(self) -> Path:
        """Where it goes."""

    @property
    def size(self) -> int | None:
        """Bytes; None where it is not known in advance."""

    @property
    def done(self) -> int:
        """How many bytes of it an earlier attempt has left."""

    @property
    def is_there(self) -> bool:
        """Whether it was fetched before."""

    def fetch(self, client: httpx2.Client, arrived: Callable[[int], None], stop: threading.Event) -> None:
        """Fetch it; see `fetch`."""


@dataclass(frozen=True)
class Download:
    """A file to fetch over HTTP, whose transfer goes on where it stopped."""

    url: str
    target: Path
    host: Host
    size: int | None = None
    """Bytes; None where it is not known in advance."""
    digest: Digest | None = None
    """What its content must come to, by an algorithm of `hashlib`; without one, a stopped download begins anew."""
    headers: Mapping[str, str] = field(default_factory=dict)

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
        return there and self.digest is not None and digest_of(self.target, self.digest.algorithm) == self.digest

    def fetch(self, client: httpx2.Client, arrived: Callable[[int], None], stop: threading.Event) -> None:
        """Fetch it; see `fetch`."""
        fetch(client, self, arrived, stop)


def fetch(client: httpx2.Client, item: Download, arrived: Callable[[int], None], stop: threading.Event) -> None:
    """Fetch a file, or the rest of one.

    Args:
        client: The connection pool.
        item: What to fetch, and what it must be.
        arrived: Told the number of bytes that have come; a negative one if some have to come again.
        stop: Ends the transfer when set.

    Raises:
        UserError: It cannot be had, or is not what was promised (twice); what has come of it stays.
        StoppedError: `stop` was set.
    """
    try:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        if item.digest is None:
            item.target.unlink(missing_ok=True)  # only its absence tells pooch that it has to come
        try:
            _retrieve(client, item, arrived, stop)
        except ValueError as error:
            log.debug("%s Fetching it once more.", error)
            _retrieve(client, item, arrived, stop)
    except OSError as error:
        raise no_space(item.target, error) from error
    except ValueError as error:
        raise FileError(
            f"{item.target.name} from {item.host.name} is not what was promised: {_first_sentence(error)}.",
            f"It was cut off or changed upstream, or on its way: try again later. {item.host.mirror}",
        ) from error


def _first_sentence(error: ValueError) -> str:
    return str(error).partition(". ")[0].rstrip(".")


def _retrieve(client: httpx2.Client, item: Download, arrived: Callable[[int], None], stop: threading.Event) -> None:
    """Fetch a file once.

    Raises:
        ValueError: What came has another size or checksum; nothing of it stays.
    """

    def download(_url: str, output: str, _pooch: object) -> None:
        Path(output).unlink()  # an empty file, which would stay behind if this process were killed
        _transfer_all(client, item, arrived, stop)
        came = item.partial.stat().st_size
        if item.size is not None and came != item.size:
            arrived(-came)
            item.partial.unlink()
            raise ValueError(f"it has {came:,} bytes instead of {item.size:,}")
        item.partial.replace(output)

    known = str(item.digest) if item.digest is not None else None
    pooch.retrieve(item.url, known, fname=item.target.name, path=item.target.parent, downloader=download)


def _transfer_all(client: httpx2.Client, item: Download, arrived: Callable[[int], None], stop: threading.Event) -> None:
    """Fetch all of a file, however often the connection breaks."""
    patience = Patience(stop)
    while True:
        if stop.is_set():
            raise StoppedError
        try:
            _transfer(client, item, arrived, stop=stop, patience=patience)
        except TemporaryError as failure:
            patience.wait(failure)
        else:
            return


def _transfer(
    client: httpx2.Client,
    item: Download,
    arrived: Callable[[int], None],
    *,
    stop: threading.Event,
    patience: Patience,
) -> None:
    start = _start(item)
    if start and start == item.size:
        return
    # Compressed on the way, a file could not be resumed.
    headers = {"Accept-Encoding": "identity", **item.headers} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with client.stream("GET", item.url, headers=headers) as response:
            if start and response.status_code == RANGE_NOT_SATISFIABLE:
                return  # there is no more: whether that is enough, the checks say
            check_status(response, item.host, item.url)
            if start and response.status_code != PARTIAL_CONTENT:
                arrived(-start)
                start = 0
            _write(response, item, arrived, append=start > 0, stop=stop, patience=patience)
    except httpx2.TransportError as error:
        raise unreachable(item.host, error) from error


def _start(item: Download) -> int:
    """Return how much is there already; what cannot be the start of the file goes."""
    if item.digest is None or (item.size is not None and item.done > item.size):
        item.partial.unlink(missing_ok=True)
    return item.done


def _write(
    response: httpx2.Response,
    item: Download,
    arrived: Callable[[int], None],
    *,
    append: bool,
    stop: threading.Event,
    patience: Patience,
) -> None:
    with item.partial.open("ab" if append else "wb") as file:
        for chunk in response.iter_bytes():  # as they arrive: what was received is not lost with the connection
            if stop.is_set():
                raise StoppedError
            file.write(chunk)
            arrived(len(chunk))
            patience.progress()


TIMEOUT = httpx2.Timeout(60.0, connect=15.0)
"""Seconds for a connection, and for the next bytes."""
SHOWN = 5
"""Files named in a message; the others are counted."""


def open_client(jobs: int) -> httpx2.Client:
    """Return a pool of `jobs` connections; proxies are those of the environment."""
    return httpx2.Client(
        follow_redirects=True,
        timeout=TIMEOUT,
        limits=httpx2.Limits(max_connections=jobs, max_keepalive_connections=jobs),
        headers={"User-Agent": f"cmi-bench/{__version__}"},
    )


def fetch_all(client: httpx2.Client, items: Sequence[Item], *, jobs: int) -> dict[Path, BaseException]:
    """Fetch files in parallel, the large ones first, with a bar of bytes, rate and time left.

    What is wrong with one file does not keep the others from coming; what is wrong with the network, the login
    or the disk ends it all. What has come stays.

    Returns:
        Why files could not be had, by target; see `raise_first`.
    """
    stop = threading.Event()
    with _bytes_bar(items) as bar, ThreadPoolExecutor(jobs) as pool:

        def one(item: Item) -> None:
            try:
                item.fetch(client, bar.advance, stop)
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
    for error in errors:
        if not isinstance(error, FileError):
            raise error
    problems = [error for error in errors if isinstance(error, FileError)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        listed = "\n".join(problem.what for problem in problems[:SHOWN])
        raise UserError(f"{len(problems)} files could not be had:\n{listed}{more}", problems[0].hint)


def _bytes_bar(items: Sequence[Item]) -> ProgressBar:
    return ProgressBar(
        f"fetching {len(items)} file{'s' * (len(items) != 1)}",
        sum(item.size or 0 for item in items),
        unit=BYTES,
        done=sum(item.done for item in items),
    )
