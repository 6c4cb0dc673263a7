"""The key of Google's API: only from the environment, and in no text that leaves this process."""

import os
from dataclasses import dataclass

from cmi_bench.errors import UserError

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
