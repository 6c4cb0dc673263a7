"""Whether an ensemble's spread foretells its errors: sentences under the table, and values for `metrics.json`."""

from collections.abc import Callable, Sequence
from typing import Any

from cmi_bench.evaluation.uncertainty import Foretold, Sign, UncertaintyRecord
from cmi_bench.reporting.format import bare, interval_cells, interval_text, signed

SIGN_NAMES = {Sign.SPREAD: "the spread", Sign.MARGIN: "the margin", Sign.BOTH: "margin / spread"}


def uncertainty_notes(records: Sequence[UncertaintyRecord]) -> list[str]:
    """Return what an ensemble's spread is worth on each task, in a sentence each."""
    return [_note(record) for record in records]


def _note(record: UncertaintyRecord) -> str:
    place = f"{record.dataset} {record.task}, {record.n_members} members"
    if record.gain is None:
        spread = record.signs[Sign.SPREAD]
        return f"{place}: spread and distance from people's ranks have {record.statistic} {_text(spread)}."
    shown = ", by ".join(f"{SIGN_NAMES[sign]} {_text(found)}" for sign, found in record.signs.items())
    gain = f"; gain over the margin {_text(record.gain, signed)}" if record.gain.value is not None else ""
    wrong = f"wrong answers ({record.n_wrong} of {record.n}) are foretold"
    return f"{place}: {wrong} with {record.statistic} by {shown}{gain}."


def _text(found: Foretold, form: Callable[[float], str] = bare) -> str:
    if found.value is None:
        return f"undefined ({found.reason})"
    return f"{form(found.value)} {interval_text(found.interval)}".rstrip()


def uncertainty_cells(record: UncertaintyRecord) -> dict[str, Any]:
    """Return a task's record as plain values."""
    return {
        "dataset": record.dataset,
        "task": record.task,
        "n": record.n,
        "n_members": record.n_members,
        "n_wrong": record.n_wrong,
        "statistic": record.statistic,
        "signs": [{"sign": str(sign), **_cells(found)} for sign, found in record.signs.items()],
        "gain": None if record.gain is None else _cells(record.gain),
    }


def _cells(found: Foretold) -> dict[str, Any]:
    reason = found.reason or (found.interval.reason if found.interval is not None else "")
    return {"value": found.value, **interval_cells(found.interval), "reason": reason}
