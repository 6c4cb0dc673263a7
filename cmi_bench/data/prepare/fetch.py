"""Fetch one file: resumed where it stopped, checked, and under its name only when it is complete."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from cmi_bench.data.prepare.digest import Digest, digest_of
from cmi_bench.data.prepare.host import FileError, Host, no_space
from cmi_bench.data.prepare.patience import Patience, TemporaryError, check_status, unreachable

log = logging.getLogger(__name__)

PARTIAL = ".partial"
"""Suffix of a file that is not complete yet."""
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416


class StoppedError(Exception):
    """Another file's failure, or the user, has stopped this one."""


@dataclass(frozen=True)
class Download:
    """A file to fetch."""

    url: str
    target: Path
    host: Host
    size: int | None = None
    """Bytes; None where it is not known in advance."""
    digest: Digest | None = None
    """What its content must come to; without one, an interrupted download begins anew."""
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
    patience, rejected = Patience(stop), False
    while True:
        if stop.is_set():
            raise StoppedError
        try:
            _transfer(client, item, arrived, stop=stop, patience=patience)
            problem = _mismatch(item)
        except TemporaryError as failure:
            patience.wait(failure)
            continue
        if problem is None:
            item.partial.replace(item.target)
            return
        arrived(-item.partial.stat().st_size)
        item.partial.unlink()
        if rejected:
            raise problem
        log.debug("%s Fetching it once more.", problem.what)
        rejected = True


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
    except OSError as error:
        raise no_space(item.target, error) from error


def _start(item: Download) -> int:
    """Return how much is there already; what cannot be the start of the file goes."""
    try:
        item.partial.parent.mkdir(parents=True, exist_ok=True)
        if item.digest is None or (item.size is not None and item.done > item.size):
            item.partial.unlink(missing_ok=True)
    except OSError as error:
        raise no_space(item.target, error) from error
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


def _mismatch(item: Download) -> FileError | None:
    """Return what is wrong with a file that has come to its end."""
    size = item.partial.stat().st_size
    if item.size is not None and size != item.size:
        what, hint = f"has {size:,} bytes instead of {item.size:,}", "It was cut off or changed upstream"
    elif item.digest is not None and (found := digest_of(item.partial, item.digest.algorithm)) != item.digest:
        what, hint = f"has the checksum {found}, not {item.digest}", "It was changed upstream or on its way"
    else:
        return None
    return FileError(
        f"{item.target.name} from {item.host.name} {what}.", f"{hint}: try again later. {item.host.mirror}"
    )
