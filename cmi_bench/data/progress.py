"""Progress bars of work on files: how many, how much, how fast, how long still."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

REDRAW_SECONDS_IN_A_LOG = 15.0
"""A bar that is not on a terminal (a batch job's log) is drawn this seldom."""
PATIENCE_SECONDS = 1.0
"""What is over sooner than this needs no bar."""


def bar_settings(description: str) -> dict[str, Any]:
    """Return what all bars have in common."""
    return {
        "desc": description,
        "file": sys.stderr,
        "mininterval": 0.1 if sys.stderr.isatty() else REDRAW_SECONDS_IN_A_LOG,
        "delay": PATIENCE_SECONDS,
        "dynamic_ncols": True,
    }


class FileCount:
    """Counts files as they are dealt with."""

    def __init__(self, description: str) -> None:
        self.description = description

    def __call__(self, items: Iterable[T], total: int) -> Iterable[T]:
        """Pass items on, with a bar that shows how many of `total` there were."""
        return tqdm(items, total=total, unit="file", **bar_settings(self.description))  # type: ignore[no-any-return]
