"""A request that is answered with an error."""

from cmi_bench.serving.wire import ErrorAnswer, ErrorCode, Problem


class RefusedError(Exception):
    """Ends the work on a request: its answer has the code's status, and a body that says what is wrong."""

    def __init__(self, code: ErrorCode, what: str, hint: str = "", *, retry_after: int | None = None) -> None:
        """Say why.

        Args:
            code: What kind of thing is wrong.
            what: What is wrong and where.
            hint: What to do about it.
            retry_after: Seconds after which the same request may be answered.
        """
        super().__init__(what)
        self.problem = Problem(code=code, what=what, hint=hint)
        self.retry_after = retry_after

    @property
    def answer(self) -> ErrorAnswer:
        """The body of the answer."""
        return ErrorAnswer(error=self.problem)
