"""Calls to Gemini: Google's client, pacing, repetition, the meaning of errors, and a store of the raw answers."""

import json
import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx2

from cmi_bench.errors import RunError, UserError
from cmi_bench.models.gemini.cost import Budget, Price, Tokens, expected_tokens, used_tokens
from cmi_bench.models.gemini.requests import (
    ClipError,
    ClipRequest,
    RawAnswer,
    RetryError,
    RunOverError,
    audio_parts,
    content,
    generation,
    raw_answer,
    read_answer,
)
from cmi_bench.models.gemini.settings import CallSettings, JudgeSettings, Key
from cmi_bench.types import Score
from cmi_bench.utils.installation import install_command

if TYPE_CHECKING:
    from google.genai import Client


log = logging.getLogger(__name__)

SETTINGS = "settings.json"


class KeptAnswer(NamedTuple):
    """One answer of the service, of whatever kind."""

    key: str
    """Content address of the request."""
    time: str
    """When it came, ISO 8601, UTC."""
    dollars: float
    """What it cost, by the price table of that day."""
    raw: RawAnswer


class AnswerStore:
    """Answers by request: in memory, and from `open` on in a folder of append-only JSONL files.

    As with scores, a process never appends to a file that it did not begin: a line that a kill cut off stays the
    last of its file, and is passed over.
    """

    def __init__(self, secret: Key) -> None:
        """Begin in memory.

        Args:
            secret: What no line may show, whatever the service repeats in its answers.
        """
        self._secret = secret
        self._answers: defaultdict[str, list[KeptAnswer]] = defaultdict(list)
        self._file: Path | None = None
        self._lock = threading.Lock()

    def open(self, folder: Path, settings: Mapping[str, Any], *, read: bool) -> None:
        """Keep answers in a folder.

        Args:
            folder: Where; one for each identity.
            settings: The judge's settings, written beside the answers for people.
            read: Whether the answers that are there already are used. They are kept in any case.

        Raises:
            RunError: The folder cannot be written to.
        """
        if read:
            for path in sorted(folder.glob("*.jsonl")):
                self._read(path)
        self._file = folder / f"{uuid.uuid4().hex}.jsonl"
        if not (folder / SETTINGS).exists():
            self._write(folder / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def __len__(self) -> int:
        return len(self._answers)

    def of(self, key: str) -> list[KeptAnswer]:
        """Return the answers to a request, the newest first."""
        with self._lock:
            return sorted(self._answers.get(key, ()), key=lambda one: one.time, reverse=True)

    def add(self, key: str, raw: RawAnswer, *, dollars: float) -> None:
        """Keep an answer; when this returns it outlives the process.

        Raises:
            RunError: It cannot be written.
        """
        answer = KeptAnswer(key, datetime.now(UTC).isoformat(), round(dollars, 6), raw)
        with self._lock:
            self._answers[key].append(answer)
            if self._file is not None:
                self._write(self._file, json.dumps(answer._asdict(), ensure_ascii=False) + "\n")

    def _read(self, path: Path) -> None:
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                answer = KeptAnswer(**json.loads(line))
            except (ValueError, TypeError):
                log.debug("%s, line %d is not whole", path, number)
            else:
                self._answers[answer.key].append(answer)

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # One write of a whole line: a reader, or a kill, meets complete lines but for the last one.
            with path.open("ab", buffering=0) as file:
                file.write(self._secret.hide(text).encode())
        except OSError as error:
            raise RunError(
                f"Answers cannot be kept in {path.parent}: {error.strerror}.",
                "Make room, or set cache.dir to another disk; then run again: it goes on.",
            ) from error


GOOGLE = "https://generativelanguage.googleapis.com/"
API_VERSION = "v1"


def make_client(key: Key, *, base_url: str | None, timeout: float) -> "Client":
    """Return a client for the Gemini API; nothing is sent yet.

    Args:
        key: For Google.
        base_url: Another address; None for Google's own.
        timeout: Seconds that a call may take.

    Raises:
        UserError: The package is not installed, or the address is none.
    """
    _check_address(base_url)
    try:
        from google import genai
    except ImportError as error:
        raise UserError(f"model=gemini needs the package google-genai: {error}.", install_command("gemini")) from error
    # `Judge` repeats calls, not the client's HttpRetryOptions (google-genai 3.4.0): those ignore RetryInfo and
    # Retry-After, repeat a day's quota that is used up, reserve no budget for an attempt, hold no other thread back,
    # sleep on when the run ends, and take an answer that is cut off or unreadable for a success.
    # The address is part of the scores' identity: never from the environment, where the client would look.
    options = genai.types.HttpOptions(
        base_url=base_url or GOOGLE, api_version=API_VERSION, timeout=round(timeout * 1000)
    )
    return genai.Client(api_key=key.value, vertexai=False, http_options=options)


def _check_address(base_url: str | None) -> None:
    if base_url is None:
        return
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise UserError(f"model.base_url={base_url!r} is no address.", "It looks like https://host.example/")
    if address.username or address.password:
        raise UserError(
            "model.base_url holds a name or a password, which would be written into the run's files.",
            "Leave them out; a proxy's can be given in HTTPS_PROXY.",
        )


class Pace:
    """Lets calls begin at even distances, and none at all while the service wants to be left alone."""

    def __init__(self, requests_per_minute: float) -> None:
        self.stop = threading.Event()
        """Set when the run is over; whoever waits then stops."""
        self._distance = 60.0 / requests_per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def wait_for_turn(self) -> None:
        """Return when the next call may begin.

        Raises:
            RunOverError: The run is over.
        """
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._distance
        self.pause(turn - time.monotonic())

    def hold(self, seconds: float) -> None:
        """Let no call begin for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def pause(self, seconds: float) -> None:
        """Wait, unless the run is over.

        Raises:
            RunOverError: It is.
        """
        if self.stop.wait(max(seconds, 0.0)):
            raise RunOverError


KEPT = "All answers so far are kept; the same command goes on from there."
TEMPORARY = frozenset((408, 500, 502, 503, 504))
_SHOWN = 300
"""Characters of an error's text: some hold a whole answer."""
CONNECTION_ATTEMPTS = 3
"""Fewer where not even a connection is made: then there is probably no network."""
NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)


def classify_error(error: Exception, *, key: Key, judge: str, address: str) -> RetryError | ClipError | RunError:
    """Return what to do about a failed call; no text in it shows the key.

    Args:
        error: What the client raised.
        key: To be kept out of the texts, and named where it is refused.
        judge: The model.
        address: The service's.
    """
    from google.genai.errors import APIError

    if isinstance(error, RetryError | ClipError | RunError):
        return error
    if isinstance(error, APIError):
        return _refused(error, key, judge, address)
    text = _error_text(str(error), key) or type(error).__name__
    if isinstance(error, NO_CONNECTION):
        hint = f"Check the network, the proxy (HTTPS_PROXY) or model.base_url. {KEPT}"
        final = RunError(f"Cannot reach {address}: {text.rstrip('.')}.", hint)
        return RetryError(final.what, final=final, attempts=CONNECTION_ATTEMPTS)
    if isinstance(error, httpx2.TimeoutException):
        reason = "no answer came within model.calls.timeout"
    else:  # the connection broke, or what came over it is no answer
        reason = f"the call failed ({type(error).__name__}: {text})"
    return RetryError(reason, final=ClipError(reason))


def may_be_billed(error: Exception) -> bool:
    """Return whether a call that failed may have been worked on: not one that was never sent, or was refused."""
    from google.genai.errors import APIError

    return not isinstance(error, (APIError, ClipError, *NO_CONNECTION))


def _refused(error: Any, key: Key, judge: str, address: str) -> RetryError | ClipError | RunError:
    """Judge an answer with an HTTP status other than 200."""
    text = _error_text(str(error.message or "no reason given"), key).rstrip(".")
    status = f"{address} answers {error.code} {error.status or ''}".rstrip()
    if error.code == 429:
        final = RunError(
            f"The rate limit or quota of the key in {key.variable} is used up: {text}.",
            f"Wait, or send fewer requests (model.calls.requests_per_minute). {KEPT}",
        )
        # A day's quota does not come back while one waits.
        return final if "PerDay" in str(error.details) else RetryError(final.what, final=final, wait=retry_delay(error))
    if error.code in TEMPORARY:
        reason = f"{status}: {text}"
        return RetryError(reason, final=ClipError(reason), wait=retry_delay(error))
    if error.code in (401, 403) or "API_KEY" in str(error.details) or "API key" in text:
        hint = f"export {key.variable}=... with a key from https://aistudio.google.com/apikey"
        return RunError(f"{status}; the key in {key.variable} is refused: {text}.", hint)
    if error.code == 404:
        hint = "Choose another with model.judge=...; https://ai.google.dev/gemini-api/docs/models lists them."
        return RunError(f"{status}; there is no model {judge!r}: {text}.", hint)
    if error.status == "FAILED_PRECONDITION":  # such as billing, or a country that is not served
        return RunError(f"{status}: {text}.", "Fix it in the account that the key belongs to.")
    return ClipError(f"{status}: {text}")


def retry_delay(error: Any) -> float | None:
    """Return the seconds to wait that the service names, in `RetryInfo` or `Retry-After`; None where it does not."""
    details = error.details.get("error", error.details).get("details", ()) if isinstance(error.details, dict) else ()
    for detail in details if isinstance(details, list) else ():
        if str(detail.get("@type", "")).endswith("RetryInfo"):
            return _retry_seconds(str(detail.get("retryDelay", "")).removesuffix("s"))
    headers = getattr(error.response, "headers", None) or {}
    return _retry_seconds(str(headers.get("retry-after", "")))


def _error_text(text: str, key: Key) -> str:
    """Return an error's text on one line, not too long, without the key."""
    line = key.hide(" ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _retry_seconds(text: str) -> float | None:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return None


LONGEST_WAIT = 300.0
"""Seconds; where the service names more, the user decides."""
JITTER = 0.25
"""Calls that failed together are not repeated together: up to this share is added to a wait."""


class Judge:
    """Makes calls: paced, paid for, repeated, and kept. Used by several threads at once."""

    def __init__(
        self,
        client: "Client",
        key: Key,
        settings: JudgeSettings,
        calls: CallSettings,
        *,
        price: Price,
        budget: Budget,
        answers: AnswerStore,
    ) -> None:
        self.client = client
        self.key = key
        self.settings = settings
        self.calls = calls
        self.price = price
        self.budget = budget
        self.answers = answers
        self.pace = Pace(calls.requests_per_minute)

    def score(self, request: ClipRequest) -> Score:
        """Return the scores of a clip, 0 to 100.

        Raises:
            ClipError: There is no answer for this clip.
            RunError: There will be none for any.
            RunOverError: The run is over.
        """
        failures = 0
        while True:
            try:
                return self._attempt(request)
            except RetryError as failure:
                failures += 1
                self._wait(failure, failures)

    def _wait(self, failure: RetryError, failures: int) -> None:
        """Wait for the next attempt, or raise what the failures come to."""
        waits_too_long = failure.wait is not None and failure.wait > LONGEST_WAIT
        if failures >= min(failure.attempts or self.calls.attempts, self.calls.attempts) or waits_too_long:
            if isinstance(failure.final, ClipError):
                raise ClipError(f"{failure.final} ({failures} attempts)")
            raise failure.final
        seconds = self.calls.backoff * 2.0 ** (failures - 1) if failure.wait is None else failure.wait
        log.debug("%s; trying again in %.1f s", failure, seconds)
        if failure.wait is not None:  # for all calls with this key
            self.pace.hold(seconds)
        self.pace.pause(seconds * (1 + JITTER * random.random()))

    def _attempt(self, request: ClipRequest) -> Score:
        self.pace.wait_for_turn()
        most = self._most(request).dollars(self.price)
        self.budget.reserve(most)
        cost = 0.0
        try:
            raw = self._call(request)
            used = used_tokens(raw, seconds=_audio_seconds(request))
            cost = most if used is None else used.dollars(self.price)
            self.answers.add(request.key, raw, dollars=cost)
            return read_answer(raw, with_alignment=request.has_instruction)
        except Exception as error:
            if cost == 0.0 and may_be_billed(error):
                cost = most
            # From None: the client's own exceptions may show what was sent.
            raise classify_error(
                error, key=self.key, judge=self.settings.judge, address=self.settings.base_url or GOOGLE
            ) from None
        finally:
            self.budget.settle(most, cost)

    def _call(self, request: ClipRequest) -> RawAnswer:
        calls = self.calls
        with audio_parts(self.client, request.recordings, inline_mb=calls.inline_mb, timeout=calls.timeout) as audio:
            parts: Any = content(request, audio)
            config: Any = generation(
                self.settings, max_output_tokens=calls.max_output_tokens, with_alignment=request.has_instruction
            )
            return raw_answer(
                self.client.models.generate_content(model=self.settings.judge, contents=parts, config=config)
            )

    def _most(self, request: ClipRequest) -> Tokens:
        characters = len(self.settings.prompt) + len(request.text) + len(request.lyrics)
        return expected_tokens(
            characters=characters, seconds=_audio_seconds(request), output=self.calls.max_output_tokens
        )


def _audio_seconds(request: ClipRequest) -> float:
    return sum(one.seconds for one in request.recordings)
