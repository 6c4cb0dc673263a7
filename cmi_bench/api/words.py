"""Settings given in Python as words of `run.py`'s command line: one language, and one set of messages."""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from os import PathLike, fspath
from typing import Any

from cmi_bench.errors import UserError

GROUPS = frozenset({"data", "subset", "metrics", "tracking", "cache"})
"""Settings that may be given as a mapping: of its keys, `name` chooses a configuration of the group."""


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as overrides.

    >>> words_of({"data": "mini", "limit": 10, "metrics": {"name": "summary", "resamples": 0}, "tracking.uri": None})
    ["data='mini'", 'limit=10', "metrics='summary'", 'metrics.resamples=0', 'tracking.uri=null']

    Args:
        settings: By key, with its dots; a group's value may be a mapping.

    Raises:
        UserError: A value is of no kind that a configuration has.
    """
    return [f"{key}={_text(key, value)}" for key, value in _flat(settings)]


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if key in GROUPS and isinstance(value, Mapping):
            yield from ((key, chosen) for name, chosen in value.items() if name == "name")
            yield from ((f"{key}.{name}", one) for name, one in value.items() if name != "name")
        else:
            yield key, value


def _text(key: str, value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | PathLike):
        return _quoted(str(fspath(value)))
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{','.join(_text(key, one) for one in value)}]"
    if hasattr(value, "item") and not getattr(value, "shape", ()):  # a number of NumPy or torch
        return _text(key, value.item())
    raise UserError(
        f"{key} is a {type(value).__name__}.",
        f"Settings are text, numbers, true or false, and lists of those; mappings for {', '.join(sorted(GROUPS))}.",
    )


def _quoted(text: str) -> str:
    # In quotes only a quote is special, and backslashes before one; `${` would begin an interpolation.
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{escaped.replace('${', chr(92) + '${')}'"
