"""Tables as CSV text."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """Return a table with its header; a cell that a line does not have, or that is None, is empty.

    Raises:
        ValueError: A line has a cell that is none of the columns.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    # Python writes a float with all its digits, so nothing is lost in the file.
    writer.writerows(lines)
    return text.getvalue()
