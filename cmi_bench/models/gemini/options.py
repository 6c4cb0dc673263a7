"""Read the options of `conf/model/gemini.yaml` that can be wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmi_bench.errors import UserError
from cmi_bench.models.gemini.settings import CallSettings
from cmi_bench.suggest import did_you_mean


def prompt_text(prompt: str | None, prompt_file: str | None) -> str:
    """Return what the judge is told.

    Raises:
        UserError: The file cannot be read, or there is nothing in it.
    """
    if prompt_file is None:
        text, source = prompt or "", "model.prompt"
    else:
        source = f"model.prompt_file={prompt_file}"
        try:
            text = Path(prompt_file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{source} cannot be read: {error}", "Give a text file, in UTF-8.") from error
    if not text.strip():
        raise UserError(f"{source} is empty: the judge would not know what to do.", "See conf/model/gemini.yaml.")
    return text.strip()


def check_numbers(options: Mapping[str, object]) -> None:
    """See whether options that are given are numbers.

    Raises:
        UserError: One is not.
    """
    for name, value in options.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"model.{name}={value} is no number.", "See conf/model/gemini.yaml.")


def call_settings(calls: Mapping[str, Any]) -> CallSettings:
    """Return how calls are made.

    Raises:
        UserError: An option is unknown, missing, or not above 0.
    """
    names = CallSettings.__dataclass_fields__
    unknown = [name for name in calls if name not in names]
    if unknown:
        raise UserError(f"There is no model.calls.{unknown[0]}.", did_you_mean(unknown[0], names))
    missing = [name for name in names if calls.get(name) is None]
    if missing:
        raise UserError(f"model.calls.{missing[0]} is missing.", f"Give it as model.calls.{missing[0]}=...")
    check_numbers({f"calls.{name}": calls[name] for name in names})
    for name in names:
        if calls[name] < 0 or (calls[name] == 0 and name != "inline_mb"):
            raise UserError(f"model.calls.{name}={calls[name]} is no number above 0.", "See conf/model/gemini.yaml.")
    return CallSettings(**calls)
