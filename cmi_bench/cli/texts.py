"""Prompt and lyrics: said on the command line, in a file, or on stdin."""

import sys
from pathlib import Path

from cmi_bench.errors import UserError

STDIN = Path("-")


def read_text(said: str | None, file: Path | None, option: str) -> str:
    """Return what was said, or what a file holds; "" where there is neither.

    Args:
        said: The text itself, taken as it is.
        file: UTF-8; "-" is stdin. White space at the end is cut off.
        option: What the user calls the text, such as "--text".

    Raises:
        UserError: Both are given, or the file cannot be read.
    """
    if said is not None and file is not None:
        raise UserError(f"Both {option} and {option}-file are given.", "Give one of them.")
    if file is None:
        return said or ""
    try:
        text = sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{option}-file {file} cannot be read as UTF-8 text: {error}", "Check the path.") from error
    return text.rstrip()
