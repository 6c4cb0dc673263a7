"""Requests: what a server's answer, or its silence, means, and when it is worth while to ask again."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # not in its __all__

from cmi_bench import __version__
from cmi_bench.errors import UserError
from cmi_bench.utils.files import without_credentials
from cmi_bench.utils.waiting import within

log = logging.getLogger(__name__)

T = TypeVar("T")

GO_ON = "the same command goes on where it stopped"
NO_LOGIN, NO_ACCESS, NOT_FOUND, GONE, TOO_MANY = 401, 403, 404, 410, 429
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416
TEMPORARY = frozenset({408, 425, TOO_MANY, 500, 502, 503, 504})
"""Answers that another attempt may change."""
RESPONSE_SECONDS = 60.0
"""How long a server may take to begin its answer, redirects included, or to give all of a short one."""


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

    @property
    def mirror(self) -> str:
        """How to use another place."""
        return f"A mirror is used with {self.setting}=https://..."

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

    def busy(self, response: httpx2.Response, url: str) -> "TemporaryError":
        """Return the failure of a request that has a temporary HTTP status."""
        status = response.status_code
        what = "asks for fewer requests" if status == TOO_MANY else "does not work at the moment"
        fewer = " With fewer at a time: jobs=2." if status == TOO_MANY else ""
        final = UserError(
            f"{self.name} {what} ({status} for {without_credentials(url)}).", f"Try again later: {GO_ON}.{fewer}"
        )
        return TemporaryError(final, wait=_requested_wait(response.headers))

    def unreachable(self, error: Exception) -> "TemporaryError":
        """Return the failure of a connection: none was made, it broke, or nothing came over it in time."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        final = UserError(
            f"{self.name} cannot be reached: {reason}.",
            f"Check the network (and HTTPS_PROXY, if it needs one); then {GO_ON}. {self.mirror}",
        )
        # A loop of redirects and a wrong address stay what they are; where no connection is made, there is no network.
        is_final = isinstance(error, httpx2.TooManyRedirects | httpx2.InvalidURL | httpx2.UnsupportedProtocol)
        no_connection = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | TimeoutError)
        attempts = 1 if is_final else CONNECTION_ATTEMPTS if no_connection else ATTEMPTS
        return TemporaryError(final, attempts=attempts)


ATTEMPTS = 5
CONNECTION_ATTEMPTS = 3
"""Fewer where not even a connection is made."""
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


def retry(attempt: Callable[[], T], *, stop: threading.Event | None = None, progressed: Callable[[], bool] = bool) -> T:
    """Call until there is a result, waiting longer after each failure.

    Args:
        attempt: Raises a `TemporaryError` where another attempt is worth while.
        stop: Ends the wait when set.
        progressed: Tells after a failure whether the attempt got on, so that the failures are counted anew.

    Raises:
        UserError: There were enough failures in a row, or the server wants to be left alone for too long.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except TemporaryError as failure:
            failures = 1 if progressed() else failures + 1
            seconds = FIRST_WAIT * 2 ** (failures - 1) if failure.wait is None else failure.wait
            if failures >= failure.attempts or seconds > LONGEST_WAIT:
                raise failure.final from failure.__cause__
            log.log(
                logging.INFO if seconds > 2 * FIRST_WAIT else logging.DEBUG,
                "%s Waiting %.0f s.", failure.final.what, seconds,
            )  # fmt: skip
            pause(stop or threading.Event(), seconds)


def pause(stop: threading.Event, seconds: float) -> None:
    """Wait, but not after `stop` is set."""
    stop.wait(seconds)


def _requested_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After`, or the hub's `RateLimit`, asks for; None where neither gives a number."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if value.isdigit():
        return float(value)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def open_client(jobs: int) -> httpx2.Client:
    """Return a pool of `jobs` connections; proxies are those of the environment."""
    return httpx2.Client(
        follow_redirects=True,
        timeout=httpx2.Timeout(RESPONSE_SECONDS, connect=15.0),
        limits=httpx2.Limits(max_connections=jobs, max_keepalive_connections=jobs),
        headers={"User-Agent": f"cmi-bench/{__version__}"},
    )


def open_url(
    client: httpx2.Client, url: str, host: Host, headers: Mapping[str, str], *, stream: bool = True
) -> httpx2.Response:
    """Return the answer to a request, its body not read yet.

    Raises:
        TemporaryError: There is none, or another attempt may change it.
        UserError: The status is final.
    """
    try:
        request = client.build_request("GET", url, headers=headers)
        response = within(RESPONSE_SECONDS, lambda: client.send(request, stream=stream))
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise host.unreachable(error) from error
    status = response.status_code
    if response.is_success or (status == RANGE_NOT_SATISFIABLE and "Range" in headers):
        return response
    response.close()
    raise host.busy(response, url) if status in TEMPORARY else host.refused(status, url)


def get_json(client: httpx2.Client, url: str, host: Host) -> object:
    """Return the JSON document at an address.

    Raises:
        UserError: It cannot be had, or is no JSON.
    """
    response = retry(lambda: open_url(client, url, host, {}, stream=False))
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{host.name} answers something that is no JSON: {error}", host.mirror) from error
