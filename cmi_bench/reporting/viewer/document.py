"""The data of the page: columns of numbers and tables of texts, which `templates/data.js` makes lines of again."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data import fields
from cmi_bench.data.datasets import PairTask, Raw, Task
from cmi_bench.data.fields import Preference, is_missing
from cmi_bench.evaluation.marks import Mark
from cmi_bench.evaluation.pairing import Run
from cmi_bench.evaluation.protocols import number
from cmi_bench.evaluation.reading import ResultRow
from cmi_bench.reporting.html.format import KEYS, VALUES
from cmi_bench.reporting.viewer.audio import PageAudio
from cmi_bench.reporting.viewer.lines import DatasetLines, RunLines, TaskLines
from cmi_bench.utils.console import printable

MARKS = tuple(Mark)
DIGITS = 6
"""Significant digits of scores; more would not be shown."""
SYSTEM = "system"
"""The group of the rows whose clips a system made, beside the groups of the tables."""

SPREADS = ("spreadA", "spreadB")
"""Columns of runs that only an ensemble has."""

Column = list[Any]


class Texts:
    """Texts by number, each kept once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, value: Any) -> int:
        """Return the number of a text; -1 for a field without any."""
        if is_missing(value):
            return -1
        text = printable(str(value).strip())
        if text not in self._numbers:
            self._numbers[text] = len(self.all)
            self.all.append(text)
        return self._numbers[text]


class Groups:
    """Groups of rows by number."""

    def __init__(self) -> None:
        self.all: list[dict[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def add(self, key: str, value: str) -> int:
        """Return a group's number."""
        if (key, value) not in self._numbers:
            self._numbers[key, value] = len(self.all)
            named = {"key": key, "value": value, "keyName": KEYS.get(key, key), "name": VALUES.get((key, value), value)}
            self.all.append({name: printable(text) for name, text in named.items()})
        return self._numbers[key, value]


def page_document(
    datasets: Sequence[DatasetLines],
    chosen: Sequence[NDArray[np.intp]],
    runs: Sequence[Run],
    audio: PageAudio,
) -> dict[str, Any]:
    """Return the page's data as plain values.

    Args:
        datasets: All rows.
        chosen: For each dataset, which of its rows are shown: positions, rising.
        runs: As the rows were read from them.
        audio: Gets the clips of the rows shown.
    """
    texts, groups = Texts(), Groups()
    rows: dict[str, Column] = {}
    lines: dict[str, Column] = {}
    by_run: list[dict[str, Column]] = [{} for _ in runs]
    for position, (dataset, shown) in enumerate(zip(datasets, chosen, strict=True)):
        first = len(rows.get("dataset", []))
        own = list(dataset.rows.rows.take(shown))
        _extend(rows, _row_columns(dataset, position, shown, own, texts, audio))
        systems = [_system_groups(row.raw, dataset, groups) for row in own]
        for at, task in enumerate(dataset.tasks):
            place = np.arange(first, first + shown.size).tolist()
            _extend(lines, {"row": place, "task": [at] * shown.size, **_line_columns(task, shown, own, texts)})
            members = _group_column(task, shown, groups)
            _extend(lines, {"groups": [[*these, *made] for these, made in zip(members, systems, strict=True)]})
            for columns, of_run in zip(by_run, task.by_run, strict=True):
                _extend(columns, _run_columns(of_run, shown))
    return {
        "marks": list(MARKS),
        "runs": [{"label": printable(run.label)} for run in runs],
        "datasets": [
            {
                "name": one.dataset.name,
                "slug": one.dataset.slug,
                "tasks": [{"name": task.task.name, "isPair": isinstance(task.task, PairTask)} for task in one.tasks],
            }
            for one in datasets
        ],
        "texts": texts.all,
        "groups": groups.all,
        "rows": rows,
        "lines": {**lines, "runs": [_without_empty(columns) for columns in by_run]},
        "audio": [[printable(path or ""), url, problem] for path, url, problem in audio.entries],
        "audioMode": str(audio.mode),
    }


def _extend(columns: dict[str, Column], more: Mapping[str, Column]) -> None:
    for name, values in more.items():
        columns.setdefault(name, []).extend(values)


def _row_columns(
    lines: DatasetLines,
    position: int,
    shown: NDArray[np.intp],
    own: Sequence[ResultRow],
    texts: Texts,
    audio: PageAudio,
) -> dict[str, Column]:
    systems = [lines.dataset.systems_of(row.raw) for row in own]
    return {
        "dataset": [position] * shown.size,
        "number": [row.number for row in own],
        "owner": lines.rows.owner[shown].tolist(),
        "prompt": [texts.add(row.raw.get(fields.PROMPT)) for row in own],
        "lyrics": [texts.add(row.raw.get(fields.LYRICS)) for row in own],
        "systemA": [texts.add(a) for a, _ in systems],
        "systemB": [texts.add(b) for _, b in systems],
        **{
            name: [audio.add(_path(row.raw, field), lines.dataset.name) for row in own]
            for name, field in (("a", fields.AUDIO_A), ("b", fields.AUDIO_B), ("ref", fields.REF_AUDIO))
        },
        "errors": _errors(lines, shown, texts),
    }


def _path(raw: Raw, field: str) -> str:
    value = raw.get(field)
    return "" if is_missing(value) else str(value).strip()


def _errors(lines: DatasetLines, shown: NDArray[np.intp], texts: Texts) -> list[dict[int, int]]:
    """Return why runs failed on each row, by the run's number."""
    failures: list[dict[int, Any]] = [{} for _ in shown]
    for run, own in enumerate(lines.rows.rows_of.values()):
        places = lines.rows.places[shown, run]
        there = np.flatnonzero(places >= 0)
        for at, row in zip(there.tolist(), own.take(places[there]), strict=True):
            if not is_missing(error := row.raw.get(fields.INFERENCE_ERROR)):
                failures[at][run] = error
    return [{run: texts.add(error) for run, error in of_row.items()} for of_row in failures]


def _system_groups(raw: Raw, lines: DatasetLines, groups: Groups) -> list[int]:
    names = (str(name).strip() for name in lines.dataset.systems_of(raw) if not is_missing(name))
    return [groups.add(SYSTEM, name) for name in dict.fromkeys(names)]


def _line_columns(
    task: TaskLines, shown: NDArray[np.intp], own: Sequence[ResultRow], texts: Texts
) -> dict[str, Column]:
    return {
        "label": _numbers(task.label[shown]),
        "remark": [texts.add(_remark(row.raw, task.task)) for row in own],
        "answersApart": _numbers(task.answers_apart[shown]),
        "standpointsApart": _numbers(task.standpoints_apart[shown], digits=3),
    }


def _remark(raw: Raw, task: Task) -> str:
    """Return what is known of a label: the annotator's confidence, how many raters agree, what each of them said."""
    parts = []
    if isinstance(task, PairTask):
        if task.confidence_field and not is_missing(confidence := raw.get(task.confidence_field)):
            parts.append(f"confidence {confidence} of 5")
        if task.share_field and not math.isnan(share := number(raw.get(task.share_field))):
            parts.append(f"{100 * share:.0f} % of its raters agree")
    of_tasks = raw.get(fields.RATINGS)
    ratings = of_tasks.get(task.label_field) if isinstance(of_tasks, Mapping) else None
    if isinstance(ratings, Mapping):
        parts.append(", ".join(f"{rater}: {_rating(value)}" for rater, value in ratings.items()))
    elif isinstance(ratings, list) and len(ratings) > 1:
        parts.append("ratings " + ", ".join(map(_rating, ratings)))
    return "; ".join(parts)


SIDES = {Preference.A: "A", Preference.B: "B", Preference.BOTH: "both"}


def _rating(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else SIDES.get(value, str(value))


def _group_column(task: TaskLines, shown: NDArray[np.intp], groups: Groups) -> list[list[int]]:
    numbered = [
        (groups.add(group.key, group.value), members.tolist())
        for group in task.groups
        if (members := np.isin(shown, group.members)).any()
    ]
    return [[number for number, members in numbered if members[at]] for at in range(shown.size)]


def _run_columns(run: RunLines, shown: NDArray[np.intp]) -> dict[str, Column]:
    return {
        "a": _numbers(run.score_a[shown]),
        "b": _numbers(run.score_b[shown]),
        **{name: _numbers(spread[shown]) for name, spread in zip(SPREADS, (run.spread_a, run.spread_b), strict=True)},
        "prediction": _numbers(run.prediction[shown]),
        "mark": [_mark_number(run.marks[at]) for at in shown],
        "distance": _numbers(run.distance[shown], digits=3),
    }


def _without_empty(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Leave out spreads where no row has one: most models are no ensembles."""
    return {
        name: column
        for name, column in columns.items()
        if name not in SPREADS or any(value is not None for value in column)
    }


def _mark_number(mark: Mark | None) -> int:
    return -1 if mark is None else MARKS.index(mark)


def _numbers(values: Iterable[float], *, digits: int = DIGITS) -> Column:
    """Return numbers as JSON has them: whole ones without a point, null for NaN, infinity by name."""
    return [_plain(float(value), digits) for value in values]


def _plain(value: float, digits: int) -> float | int | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded
