"""Numbers and tables as text: rounded figures, intervals, p-values, Markdown and CSV; files of tables."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.text import Text

from cmi_bench.evaluation.clusters import POPULATION
from cmi_bench.evaluation.intervals import Interval
from cmi_bench.utils.console import printable
from cmi_bench.utils.files import write_text_atomic

Subject = TypeVar("Subject")


def bare(value: float, digits: int = 3) -> str:
    """Return a number without the zero before its point, as in tables where room is short.

    >>> bare(0.7031), bare(-0.02), bare(1.0, 2), bare(-0.0004)
    ('.703', '-.020', '1.00', '.000')
    """
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def interval_text(interval: Interval | None, digits: int = 3) -> str:
    """Return e.g. "[.703, .831]"; nothing where there is no interval.

    >>> interval_text(Interval(0.7031, 0.831))
    '[.703, .831]'
    """
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return bounds_text(interval.low, interval.high, digits)


def bounds_text(low: float, high: float, digits: int = 3) -> str:
    """Return both ends of an interval.

    >>> bounds_text(-0.02, 1.0)
    '[-.020, 1.000]'
    """
    return f"[{bare(low, digits)}, {bare(high, digits)}]"


def interval_notes(intervals: Iterable[tuple[str, Mapping[str, Interval]]]) -> list[str]:
    """Return, for each unit that intervals are over, how many each dataset has and what they speak of; and the methods.

    Args:
        intervals: Names of datasets, each with intervals by metric; a dataset may come again.

    >>> interval = Interval(0.1, 0.5, method="jackknife t", unit="prompts", n_clusters=100)
    >>> for note in interval_notes([("PAM", {"SRCC": interval})]): print(note)
    Intervals over prompts (PAM 100) speak of other prompts, the same systems.
    Methods of intervals: jackknife t for SRCC.
    """
    counts_of: defaultdict[str, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    metrics_of: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for dataset, by_metric in intervals:
        for metric, interval in by_metric.items():
            if interval.low is not None:
                counts_of[interval.unit][dataset].add(interval.n_clusters)
                metrics_of[interval.method][metric] = None
    notes = []
    for unit, of_unit in counts_of.items():
        named = (f"{dataset} {'/'.join(map(str, sorted(counts)))}" for dataset, counts in of_unit.items())
        notes.append(f"Intervals over {unit} ({', '.join(named)}) speak of {POPULATION[unit]}.")
    methods = "; ".join(f"{method} for {', '.join(metrics)}" for method, metrics in metrics_of.items())
    return [*notes, *([f"Methods of intervals: {methods}."] if methods else [])]


def percent_name(confidence: float) -> str:
    """Return e.g. "95 %".

    >>> percent_name(0.95), percent_name(0.999)
    ('95 %', '99.9 %')
    """
    return f"{confidence * 100:.6g} %"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign.

    >>> signed(0.021), signed(-0.0301), signed(0.0)
    ('+.021', '-.030', '.000')
    """
    text = bare(value, digits)
    return text if text.startswith("-") or float(text) == 0 else f"+{text}"


def p_text(p: float | None) -> str:
    """Return a p-value; nothing where there was no test.

    >>> p_text(0.0304), p_text(0.0002), p_text(1.0)
    ('.030', '<.001', '1.000')
    """
    if p is None:
        return ""
    return "<.001" if p < 0.001 else bare(p)


def text_cell(text: object, style: str = "") -> Text:
    """Return text for a terminal, whatever it came from: no markup, and no command to the terminal."""
    return Text(printable(str(text)), style=style)


def one_line(text: str) -> str:
    """Return text that can be shown everywhere, without line ends.

    >>> one_line("la\\nla\\x00") == "la la\ufffd"
    True
    """
    return " ".join(printable(text).splitlines())


_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_<>[]|"})


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line.

    >>> print(escape("a_b|c"))
    a\\_b\\|c
    """
    return one_line(text).translate(_SPECIAL)


def table(header: Sequence[str], lines: Sequence[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """Return a table of cells that are Markdown already.

    Args:
        header: Column names.
        lines: Cells; plain text in them has gone through `escape`.
        numbers_from: Columns from this one on are aligned to the right.
    """
    rule = ["---:" if numbers_from is not None and at >= numbers_from else "---" for at in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *lines))


def interval_cells(interval: Interval | None) -> dict[str, float | None]:
    """Return the cells `ci_low` and `ci_high` of a CSV line; both None where there is no interval."""
    return {
        "ci_low": None if interval is None else interval.low,
        "ci_high": None if interval is None else interval.high,
    }


def write_files(subject: Subject, forms: Mapping[str, Callable[[Subject], str]], folder: Path) -> list[Path]:
    """Write each form of a subject into a folder, which is made if missing.

    Args:
        subject: What the files are about, such as a comparison.
        forms: By file name, the function that returns the file's text.
        folder: Where to.

    Returns:
        The files, in the order of `forms`.
    """
    return [write_text_atomic(folder / name, text_of(subject)) for name, text_of in forms.items()]


_NUMBER = re.compile(r"[=+-]?\d*\.?\d+(e[+-]?\d+)?", re.IGNORECASE)


def csv_cell(value: Any) -> Any:
    """Return a cell that a spreadsheet shows and does not compute; what is no text stays as it is.

    Text that begins like a formula (with `=`, `+`, `-`, `@`, their full-width forms, a tab or a line end) gets an
    apostrophe in front, which spreadsheets take as the sign of text (OWASP, CSV injection). Numbers written as text
    stay, and so does "=3", a group of the public tables.

    >>> csv_cell("=HYPERLINK(1)"), csv_cell("-0.5"), csv_cell("=3"), csv_cell(-0.5)
    ("'=HYPERLINK(1)", '-0.5', '=3', -0.5)
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    is_formula = text[:1] in ("\t", "\n") or text.lstrip()[:1] in tuple("=+-@＝＋－＠")
    return f"'{text}" if is_formula and not _NUMBER.fullmatch(text) else text


def csv_text(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """Return a table as CSV with its header; a cell that a line does not have, or that is None, is empty.

    Raises:
        ValueError: A line has a cell that is none of the columns.
    """
    import pandas as pd  # half a second that tables without files need not take

    records = list(lines)
    unknown = sorted({cell for record in records for cell in record} - set(columns))
    if unknown:
        raise ValueError(f"No column for {', '.join(unknown)}.")
    # As objects, numbers keep their type, and each float is written with all its digits.
    cells = [[csv_cell(record.get(column)) for column in columns] for record in records]
    table = pd.DataFrame(cells, columns=[csv_cell(column) for column in columns], dtype=object)
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text
