"""How a call can end other than with scores."""

from cmi_bench.errors import RunError


class ClipError(Exception):
    """This clip gets no scores, and asking again would not help."""


class StoppedError(Exception):
    """The run is over; nothing more is to be asked."""


class RetryError(Exception):
    """A call that failed, and may succeed another time."""

    def __init__(
        self, reason: str, *, final: ClipError | RunError, wait: float | None = None, attempts: int | None = None
    ) -> None:
        """Say what to do.

        Args:
            reason: What went wrong.
            final: What to raise if it never succeeds.
            wait: Seconds that the service asks for; None where it does not.
            attempts: How many are enough, where that is fewer than the settings say.
        """
        super().__init__(reason)
        self.final = final
        self.wait = wait
        self.attempts = attempts
