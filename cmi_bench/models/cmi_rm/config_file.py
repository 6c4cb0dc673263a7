"""Configuration files read key by key, with errors that name the file and the key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cmi_bench.errors import UserError
from cmi_bench.suggest import did_you_mean

T = TypeVar("T", int, float, str, bool)

REQUIRED: Any = object()
"""Marks a key without a default."""


@dataclass(frozen=True)
class Section:
    """A mapping in a configuration file, and where it is."""

    file: Path
    name: str
    """Dotted name inside the file; empty for the whole file."""
    values: Mapping[str, Any]

    def get(self, key: str, kind: type[T], default: T = REQUIRED) -> T:
        """Return a value of the kind asked for (an integer passes as a float); null is as good as absent.

        Raises:
            UserError: The key is absent and has no default, or holds something else.
        """
        value = self.optional(key, kind)
        if value is not None:
            return value
        if default is REQUIRED:
            raise self._missing(key)
        return default

    def optional(self, key: str, kind: type[T]) -> T | None:
        """Return a value of the kind asked for, or None where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"is {value!r}; expected {_KINDS[kind]}.")
        return kind(value)

    def size(self, key: str, default: int = REQUIRED) -> int:
        """Return a whole number of at least 1."""
        value = self.get(key, int, default)
        if value < 1:
            raise self.error(key, f"is {value}; expected at least 1.")
        return value

    def choice(self, key: str, known: Sequence[str], *, fold_case: bool = False) -> str:
        """Return a string that is one of `known`, in lower case with `fold_case`."""
        value = self.get(key, str)
        value = value.lower() if fold_case else value
        if value not in known:
            raise self.error(key, f"is {value!r}.", did_you_mean(value, known))
        return value

    def section(self, key: str) -> "Section":
        """Return the mapping under a key.

        Raises:
            UserError: The key is absent or holds no mapping.
        """
        value = self.values.get(key)
        if value is None:
            raise self._missing(key)
        if not isinstance(value, Mapping):
            raise self.error(key, f"is {value!r}; expected a mapping.")
        return Section(self.file, self._full(key), value)

    def only(self, known: Sequence[str]) -> None:
        """Refuse keys that are not in `known`."""
        for key in self.values:
            if key not in known:
                raise self.error(key, "is not a known key.", did_you_mean(str(key), known))

    def error(self, key: str, what: str, hint: str = "") -> UserError:
        """Return the error that says what is wrong with a key."""
        return UserError(f"{self.file}: {self._full(key)} {what}", hint)

    def _missing(self, key: str) -> UserError:
        return UserError(f"{self.file} has no key {self._full(key)}.", did_you_mean(key, map(str, self.values)))

    def _full(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else str(key)


_KINDS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def read_config(file: Path) -> Section:
    """Read a JSON (`.json`) or YAML file that holds a mapping.

    Raises:
        UserError: The file cannot be read, is malformed, or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
        # YAML 1.1 reads JSON's 1e-05 as a string, so each format has its own reader.
        values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise UserError(f"Cannot read {file}: {error}", "Get the file again, or point to another.") from error
    if not isinstance(values, Mapping):
        raise UserError(f"{file} holds no mapping of keys to values.", "Is it the model's own configuration?")
    return Section(file, "", values)
