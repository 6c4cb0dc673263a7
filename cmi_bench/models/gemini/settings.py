"""Read the options of `conf/model/gemini.yaml` that can be wrong.

What the judge is asked with, and how.

The key of Google's API: only from the environment, and in no text that leaves this process.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.utils.files import content_key

FORM = 1
"""Raised whenever what is sent, or how an answer is read, changes in a way that no setting tells."""


@dataclass(frozen=True)
class JudgeSettings:
    """What settles an answer besides the clip: the identity of the scores."""

    judge: str
    """Google's name of the model."""
    prompt: str
    """What the judge is told to do; the system instruction."""
    temperature: float
    thinking_budget: int | None
    """Tokens that the judge may think for; None leaves it to the judge."""
    sr: int
    """Hz of the audio that is sent."""
    base_url: str | None
    """Where it is sent; None for Google's own address."""

    def identity(self) -> str:
        """Return the content address of all of it."""
        return content_key(model="gemini", form=FORM, **asdict(self))


@dataclass(frozen=True)
class CallSettings:
    """How calls are made; none of it changes a score."""

    in_flight: int
    """Clips that are asked about at the same time."""
    requests_per_minute: float
    max_output_tokens: int
    """Bound of thoughts and answer together; an answer that is whole does not depend on it."""
    attempts: int
    """Calls for one clip before it counts as failed."""
    backoff: float
    """Seconds before the second attempt, doubled for each further one, unless the service says how long."""
    timeout: float
    """Seconds that a call may take."""
    inline_mb: float
    """Audio of one question, in 10^6 bytes, that goes into the request itself; more than that is uploaded first."""


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


VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""The first that is set counts, in the order of Google's own client."""
BLOTTED = "(key)"


@dataclass(frozen=True, repr=False)
class Key:
    """A key that does not show itself."""

    value: str
    variable: str
    """Where it was found."""

    def __repr__(self) -> str:
        return f"Key({BLOTTED} from {self.variable})"

    def hide(self, text: str) -> str:
        """Blot the key out of a text."""
        return text.replace(self.value, BLOTTED)


def key_from_environment() -> Key:
    """Return the key.

    Raises:
        UserError: There is none, or what is there cannot be one.
    """
    found = next((name for name in VARIABLES if os.environ.get(name, "").strip()), None)
    if found is None:
        raise UserError(
            f"Gemini wants a key, and neither {' nor '.join(reversed(VARIABLES))} is set.",
            "export GEMINI_API_KEY=... with a key from https://aistudio.google.com/apikey",
        )
    value = os.environ[found].strip()
    # Such a key cannot go into a header, and the error of the HTTP library would show it.
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UserError(
            f"{found} holds no key: there are characters in it that no key has.",
            f"export {found}=... with a key from https://aistudio.google.com/apikey",
        )
    return Key(value, found)
