"""What the client's exceptions mean: try again, give the clip up, or end the run."""

from typing import Any

import httpx2

from cmi_bench.errors import RunError
from cmi_bench.models.gemini.key import Key
from cmi_bench.models.gemini.outcomes import ClipError, RetryError

KEPT = "What was answered so far is kept; the same command goes on from there."
TEMPORARY = frozenset((408, 500, 502, 503, 504))
_SHOWN = 300
"""Characters of an error's text: some hold a whole answer."""
CONNECTION_ATTEMPTS = 3
"""Fewer where not even a connection is made: then there is probably no network."""
NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)


def what_it_means(error: Exception, *, key: Key, judge: str, address: str) -> RetryError | ClipError | RunError:
    """Return what to do about a failed call; no text in it shows the key.

    Args:
        error: What the client raised.
        key: To be kept out of the texts, and named where it is refused.
        judge: The model that was asked.
        address: Where it was asked.
    """
    from google.genai.errors import APIError

    if isinstance(error, RetryError | ClipError | RunError):
        return error
    if isinstance(error, APIError):
        return _refused(error, key, judge, address)
    said = _said(str(error), key) or type(error).__name__
    if isinstance(error, NO_CONNECTION):
        hint = f"Check the network, the proxy (HTTPS_PROXY) or model.base_url. {KEPT}"
        final = RunError(f"Cannot reach {address}: {said.rstrip('.')}.", hint)
        return RetryError(final.what, final=final, attempts=CONNECTION_ATTEMPTS)
    if isinstance(error, httpx2.TimeoutException):
        reason = "no answer came within model.calls.timeout"
    else:  # the connection broke, or what came over it is no answer
        reason = f"the call failed ({type(error).__name__}: {said})"
    return RetryError(reason, final=ClipError(reason))


def may_be_billed(error: Exception) -> bool:
    """Return whether a call that failed may have been worked on: not one that was never sent, or was refused."""
    from google.genai.errors import APIError

    return not isinstance(error, (APIError, ClipError, *NO_CONNECTION))


def _refused(error: Any, key: Key, judge: str, address: str) -> RetryError | ClipError | RunError:
    """Judge an answer with an HTTP status other than 200."""
    said = _said(str(error.message or "no reason given"), key).rstrip(".")
    status = f"{address} answers {error.code} {error.status or ''}".rstrip()
    if error.code == 429:
        final = RunError(
            f"The rate limit or quota of the key in {key.variable} is used up: {said}.",
            f"Wait, or ask less often (model.calls.requests_per_minute). {KEPT}",
        )
        # A day's quota does not come back while one waits.
        return (
            final if "PerDay" in str(error.details) else RetryError(final.what, final=final, wait=asked_to_wait(error))
        )
    if error.code in TEMPORARY:
        reason = f"{status}: {said}"
        return RetryError(reason, final=ClipError(reason), wait=asked_to_wait(error))
    if error.code in (401, 403) or "API_KEY" in str(error.details) or "API key" in said:
        hint = f"export {key.variable}=... with a key from https://aistudio.google.com/apikey"
        return RunError(f"{status}; the key in {key.variable} is refused: {said}.", hint)
    if error.code == 404:
        hint = "Choose another with model.judge=...; https://ai.google.dev/gemini-api/docs/models lists them."
        return RunError(f"{status}; there is no model {judge!r}: {said}.", hint)
    if error.status == "FAILED_PRECONDITION":  # such as billing, or a country that is not served
        return RunError(f"{status}: {said}.", "Mend it in the account that the key belongs to.")
    return ClipError(f"{status}: {said}")


def asked_to_wait(error: Any) -> float | None:
    """Return the seconds that the service asks for, in `RetryInfo` or `Retry-After`; None where it does not."""
    details = error.details.get("error", error.details).get("details", ()) if isinstance(error.details, dict) else ()
    for detail in details if isinstance(details, list) else ():
        if str(detail.get("@type", "")).endswith("RetryInfo"):
            return _seconds(str(detail.get("retryDelay", "")).removesuffix("s"))
    headers = getattr(error.response, "headers", None) or {}
    return _seconds(str(headers.get("retry-after", "")))


def _said(text: str, key: Key) -> str:
    """Return an error's text on one line, not too long, without the key."""
    line = key.hide(" ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _seconds(text: str) -> float | None:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return None
