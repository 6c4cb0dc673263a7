"""A store that may fail or hang while the run goes on."""

import logging
import traceback
from collections.abc import Callable
from typing import TypeVar

from cmi_bench.errors import UserError
from cmi_bench.utils.files import hide_credentials
from cmi_bench.utils.waiting import within

log = logging.getLogger(__name__)

T = TypeVar("T")
FAILURES_IN_A_ROW = 3
"""After so many calls that failed one after the other, nothing more is sent but how the run ended."""


class Sink:
    """Makes calls to a store: what goes wrong is a warning, and a store that keeps failing is left alone."""

    def __init__(self, name: str, uri: str, timeout: float) -> None:
        """Take note of a store.

        Args:
            name: For messages: "MLflow".
            uri: Its address; user and password are never shown.
            timeout: Seconds that one answer may take; a store that once took longer is not called again.
        """
        self.name = name
        self.uri = uri
        self.timeout = timeout
        self.is_open = False
        """Whether something is being recorded, so that there is a gap if that ends; set by who opened it."""
        self._is_late = False
        self._failures = 0

    @property
    def is_given_up(self) -> bool:
        """Whether the store took too long once, or failed too often."""
        return self._is_late or self._failures >= FAILURES_IN_A_ROW

    def call(
        self, doing: str, call: Callable[[], T], *, seconds: float | None = None, in_any_case: bool = False
    ) -> T | None:
        """Return what a call to the store returns; None, with a warning, where it fails or is late.

        Args:
            doing: What is done, for the warning: "recording metrics".
            call: Takes no arguments.
            seconds: How long it may take, if not `timeout`.
            in_any_case: Also where calls failed before.
        """
        if self.is_given_up and (self._is_late or not in_any_case):
            return None
        try:
            answer = within(seconds or self.timeout, call)
        except TimeoutError as error:
            self._warn(doing, f"{self.shown_uri}: {error}")
            self._is_late = True
            self._warn_of_gap()
        except Exception as error:  # a store and the network may fail in any way; scores are safe on disk
            self._warn(doing, _reason(error))
            log.debug("%s: %s failed:\n%s", self.name, doing, self._hidden(traceback.format_exc()))
            self._failures += 1
            if self._failures == FAILURES_IN_A_ROW:
                self._warn_of_gap()
        else:
            self._failures = 0
            return answer
        return None

    def _warn(self, doing: str, reason: str) -> None:
        text = self._hidden(reason)
        log.warning("%s: %s failed (%s). The run goes on; its files are complete.", self.name, doing, text)

    def _warn_of_gap(self) -> None:
        if self.is_open:
            log.warning("%s: nothing more of this run is recorded in %s.", self.name, self.shown_uri)

    @property
    def shown_uri(self) -> str:
        """The store's address without user and password."""
        return self._hidden(self.uri)

    def _hidden(self, text: str) -> str:
        return hide_credentials(text, self.uri)


def _reason(error: Exception) -> str:
    """Return the first line of an error, with the hint of those that have one."""
    if isinstance(error, UserError):
        return f"{error.what} {error.hint}".rstrip(" .")
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:300]}"
