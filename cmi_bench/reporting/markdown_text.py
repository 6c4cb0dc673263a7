"""Tables in Markdown."""

from collections.abc import Sequence

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_<>[]|"})


def escape(text: str) -> str:
    """Return text that Markdown shows as it is.

    >>> print(escape("a_b|c"))
    a\\_b\\|c
    """
    return text.translate(_SPECIAL)


def table(header: Sequence[str], lines: Sequence[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """Return a table of cells that are Markdown already.

    Args:
        header: Column names.
        lines: Cells; plain text in them has gone through `escape`.
        numbers_from: Columns from this one on are aligned to the right.
    """
    rule = ["---:" if numbers_from is not None and at >= numbers_from else "---" for at in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *lines))
