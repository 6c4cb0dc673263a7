"""What a reward server's refusal, or its silence, means, and how long to wait before asking again."""

import random
from dataclasses import dataclass

import httpx2
from pydantic import ValidationError

from cmi_bench.errors import UserError
from cmi_bench.serving.wire import ErrorAnswer, ErrorCode, Problem
from cmi_bench.utils.files import without_credentials

PASSING = frozenset({408, 429, 502, 503, 504})
"""Statuses that another attempt may change; scoring a song again does no harm."""
OF_THE_SONG = frozenset({ErrorCode.TOO_SLOW, ErrorCode.TOO_LARGE, ErrorCode.FAILED})
"""Refusals of a request that the next song need not meet; what is wrong with a song alone is in its receipt."""


class RewardServerError(UserError):
    """A reward server that refuses a song, or does not answer.

    Args:
        problem: What is wrong, and what to do.
        status: The HTTP status; None where there was no answer.
        wait: Seconds that the server asks for before the next attempt; None where it does not.
        is_passing: Whether another attempt may succeed.
    """

    def __init__(
        self, problem: Problem, *, status: int | None = None, wait: float | None = None, is_passing: bool = False
    ) -> None:
        super().__init__(problem.what, problem.hint)
        self.problem = problem
        self.status = status
        self.wait = wait
        self.is_passing = is_passing

    @property
    def code(self) -> ErrorCode:
        """What kind of thing went wrong."""
        return self.problem.code

    @property
    def is_of_the_song(self) -> bool:
        """Whether the next song need not meet it."""
        return self.code in OF_THE_SONG

    def about(self, name: str) -> "RewardServerError":
        """Return the error with the name of the song that has met it."""
        if name in self.what:
            return self
        what = f"{name}: {self.what}"
        return RewardServerError(
            self.problem.model_copy(update={"what": what}),
            status=self.status,
            wait=self.wait,
            is_passing=self.is_passing,
        )


def refusal(response: httpx2.Response) -> RewardServerError:
    """Return the error that an answer is whose status is no success."""
    status = response.status_code
    try:
        problem = ErrorAnswer.model_validate_json(response.content).error
    except ValidationError:  # a proxy's page, or no server of this kind
        shown = without_credentials(str(response.request.url))
        problem = Problem(
            code=ErrorCode.NOT_FOUND if status == 404 else ErrorCode.FAILED,
            what=f"{shown} answers {status}.",
            hint="Is the address that of a reward server (cmi-bench serve), and up?",
        )
        if status not in PASSING:  # nothing that another song would change
            return RewardServerError(problem.model_copy(update={"code": ErrorCode.NOT_FOUND}), status=status)
    return RewardServerError(problem, status=status, wait=_requested_wait(response), is_passing=status in PASSING)


def silence(error: Exception, url: str, seconds: float) -> RewardServerError:
    """Return the error that a failed connection is, or an answer that did not come in time."""
    shown = without_credentials(url)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout):
        problem = Problem(
            code=ErrorCode.TOO_SLOW,
            what=f"{shown} has not answered within {seconds:g} s.",
            hint="Raise timeout=, lower concurrency=, or give the server more devices.",
        )
    else:
        problem = Problem(
            code=ErrorCode.NOT_READY,
            what=f"{shown} cannot be reached: {reason}.",
            hint="Is the server up (cmi-bench serve), and the address right?",
        )
    return RewardServerError(problem, is_passing=not isinstance(error, httpx2.UnsupportedProtocol))


def unreadable(url: str, reason: object) -> RewardServerError:
    """Return the error that an answer is which cannot be read."""
    return RewardServerError(
        Problem(
            code=ErrorCode.NOT_FOUND,
            what=f"{without_credentials(url)} answers something else than a reward server: {reason}.",
            hint="Is it one, of the same version of cmi-bench?",
        ),
        status=200,
    )


def _requested_wait(response: httpx2.Response) -> float | None:
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:  # none, or a date, which such a server does not send
        return None
    return seconds if 0 <= seconds < float("inf") else None


FIRST_WAIT = 0.5
"""Seconds before the second attempt; twice as long before each further one."""
LONGEST_WAIT = 15.0
"""Seconds that a wait grows to, where the server names none."""
JITTER = 0.25
"""Songs that were refused together do not come again together: up to this share is added to a wait."""
UNKNOWN_ATTEMPTS = 3
"""Attempts to connect to a server that has never answered: its address is probably wrong."""


@dataclass(frozen=True)
class Patience:
    """How long a song is tried again."""

    seconds: float
    """In all; 0 tries once."""
    seed: int
    """Of the jitter."""

    def wait(
        self, error: RewardServerError, *, attempt: int, elapsed: float, song: int, is_known: bool
    ) -> float | None:
        """Return the seconds to wait before the next attempt; None: there is none.

        Args:
            error: Of this attempt.
            attempt: Which it was, from 1.
            elapsed: Seconds since the first began.
            song: Its number.
            is_known: Whether the server has ever answered.
        """
        if not error.is_passing or (not is_known and attempt >= UNKNOWN_ATTEMPTS):
            return None
        own = min(FIRST_WAIT * 2.0 ** min(attempt - 1, 16), LONGEST_WAIT)
        # Seeded by text: the same on every machine, and of no other random numbers.
        share = 1 + JITTER * random.Random(f"{self.seed} {song} {attempt}").random()
        seconds = share * (own if error.wait is None else error.wait)
        return seconds if elapsed + seconds <= self.seconds else None
