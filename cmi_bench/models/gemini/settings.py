"""Options of `conf/model/gemini.yaml`, read strictly, and the key of Google's API.

The key comes from the environment only, and appears in no text that leaves this process.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from cmi_bench.errors import UserError
from cmi_bench.models.config_files import ConfigSection, Size
from cmi_bench.utils.files import content_key

FORM = 1
"""Raised whenever what is sent, or how an answer is read, changes in a way that no setting shows."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class JudgeSettings(ConfigSection):
    """What settles an answer besides the clip: the identity of the scores."""

    judge: str
    """Google's name of the model."""
    prompt: str
    """The system instruction."""
    temperature: NotNegative
    thinking_budget: int | None = None
    """Tokens of thought at most; None leaves it to the judge."""
    sr: Size
    """Hz of the audio that is sent."""
    base_url: str | None = None
    """Where it is sent; None for Google's own address."""

    def identity(self) -> str:
        """Return the content address of all settings."""
        return content_key(model="gemini", form=FORM, **self.model_dump())


class CallSettings(ConfigSection):
    """How calls are made; none of it changes a score."""

    model_config = ConfigDict(extra="forbid")

    in_flight: Size
    """Clips that are judged at the same time."""
    requests_per_minute: Positive
    max_output_tokens: Size
    """Bound of thoughts and answer together; a complete answer does not depend on it."""
    attempts: Size
    """Calls for one clip before it counts as failed."""
    backoff: Positive
    """Seconds before the second attempt, doubled for each further one, unless the service names a time."""
    timeout: Positive
    """Seconds that a call may take."""
    inline_mb: NotNegative
    """Audio of one request, in 10^6 bytes, that is sent inside it; more than that is uploaded first."""


class SpendingLimit(ConfigSection):
    """What a run may cost."""

    max_spend: NotNegative | None = None
    """Dollars; None for no limit."""


def prompt_text(prompt: str | None, prompt_file: str | None) -> str:
    """Return the system instruction.

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
        raise UserError(f"{source} is empty; the judge needs an instruction.", "See conf/model/gemini.yaml.")
    return text.strip()


VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""The first that is set counts, in the order of Google's own client."""
MASK = "(key)"


@dataclass(frozen=True, repr=False)
class Key:
    """A key that does not show itself."""

    value: str
    variable: str
    """Where it was found."""

    def __repr__(self) -> str:
        return f"Key({MASK} from {self.variable})"

    def hide(self, text: str) -> str:
        """Replace the key in a text."""
        return text.replace(self.value, MASK)


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
