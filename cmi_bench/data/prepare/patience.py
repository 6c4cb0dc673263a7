"""How often, and after how long, a request is tried again."""

import logging
import threading
from collections.abc import Mapping

import httpx2
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # not in its __all__

from cmi_bench.data.prepare.host import TEMPORARY, Host
from cmi_bench.errors import UserError

log = logging.getLogger(__name__)

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
