"""Names near a misspelt one, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches


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
