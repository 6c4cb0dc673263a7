"""Errors that are meant for the person at the keyboard, with the nearest right name where there is one."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can fix: printed as one message, without a traceback, and a non-zero exit.

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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names what was probably meant, and all that is known.

    >>> did_you_mean("cmi_rn", ["cmi_rm", "signal"])
    'Did you mean cmi_rm? Known: cmi_rm, signal.'
    >>> did_you_mean("x", ["cmi_rm", "signal"])
    'Known: cmi_rm, signal.'
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{guess}Known: {', '.join(names)}."
