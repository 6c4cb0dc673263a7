"""Errors that are meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend: printed as one message, without a traceback, and a non-zero exit.

    Args:
        what: What is wrong and where (file, line, field, value), in one or a few sentences.
        hint: What to do about it; a command where there is one.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.hint}" if self.hint else self.what


class RunError(UserError):
    """A failure that is no single clip's fault: it ends the run, whatever `on_error` says."""


class NotFetchedError(UserError):
    """A model's files are neither on this machine nor to be had at the moment; `task=prepare` gets them."""
