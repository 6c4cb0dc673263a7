"""Where files come from, and what to tell the user when it does not give them."""

import errno
from dataclasses import dataclass
from pathlib import Path

from cmi_bench.errors import UserError
from cmi_bench.urls import without_credentials

GO_ON = "the same command goes on where it stopped"
NO_LOGIN, NO_ACCESS, NOT_FOUND, GONE, TOO_MANY = 401, 403, 404, 410, 429
TEMPORARY = frozenset({408, 425, TOO_MANY, 500, 502, 503, 504})
"""Answers that another attempt may change."""


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

    def busy(self, status: int, url: str) -> UserError:
        """Return the error for a temporary HTTP status that has lasted for too long."""
        what = "asks for fewer requests" if status == TOO_MANY else "does not work at the moment"
        fewer = " With fewer at a time: jobs=2." if status == TOO_MANY else ""
        return UserError(
            f"{self.name} {what} ({status} for {without_credentials(url)}).", f"Try again later: {GO_ON}.{fewer}"
        )

    def unreachable(self, reason: str) -> UserError:
        """Return the error for a network that does not get there."""
        return UserError(
            f"{self.name} cannot be reached: {reason}",
            f"Check the network (and HTTPS_PROXY, if it needs one); then {GO_ON}. {self.mirror}",
        )

    @property
    def mirror(self) -> str:
        """How to use another place."""
        return f"A mirror is used with {self.setting}=https://..."


def no_space(path: Path, error: OSError) -> UserError:
    """Return the error for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"There is no space left for {path}.", f"Make room, or choose another folder with data.root=...; {GO_ON}."
        )
    return UserError(f"{path} cannot be written: {error.strerror}.", "Choose another folder with data.root=...")
