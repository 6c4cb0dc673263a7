"""Which results rows are evaluated, and as rows of which dataset."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from cmi_bench.data import fields
from cmi_bench.data.datasets import DATASETS, MUSIC_ARENA, Dataset, dataset_of_source

MONTHS_FOLDER = ("MusicArena_data", "audio_files")
UNKNOWN_MONTH = "unknown"


class ResultRow(NamedTuple):
    """One line of a results file."""

    number: int
    """Counted from 1 over all rows given: the line, in a file without blank lines."""
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """The rows to evaluate, and what was left out."""

    rows_of: Mapping[Dataset, Sequence[ResultRow]]
    """By dataset, in the tables' order; datasets without a row are not in it."""
    notes: list[str]


def select_rows(rows: Sequence[Mapping[str, Any]], split: str) -> Selection:
    """Choose the rows of a split and assign them to the datasets, as the public evaluator does.

    Args:
        rows: Results rows. Where none of them has a `split`, all are taken.
        split: The split wanted.
    """
    has_splits = any(fields.SPLIT in raw for raw in rows)
    found: dict[Dataset, list[ResultRow]] = {dataset: [] for dataset in DATASETS}
    other_splits: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for number, raw in enumerate(rows, start=1):
        if has_splits and str(raw.get(fields.SPLIT)) != split:
            other_splits[str(raw.get(fields.SPLIT))] += 1
        elif (dataset := dataset_of_row(raw)) is None:
            unknown[str(raw.get(fields.SOURCE))] += 1
        else:
            found[dataset].append(ResultRow(number, raw))
    notes = [
        *([] if any(found.values()) else [f"No row of split {split!r} to evaluate."]),
        *(f"{in_words(count)} of split {name!r} left out." for name, count in sorted(other_splits.items())),
        *(f"{in_words(count)} of unknown source {name!r} left out." for name, count in sorted(unknown.items())),
    ]
    return Selection({dataset: chosen for dataset, chosen in found.items() if chosen}, notes)


def in_words(count: int) -> str:
    """Return "1 row", "2 rows"."""
    return f"{count} row" + "s" * (count != 1)


def dataset_of_row(raw: Mapping[str, Any]) -> Dataset | None:
    """Return the dataset of a results row: by its source, else its audio path, else `benchmark_dataset`."""
    if (dataset := dataset_of_source(str(raw.get(fields.SOURCE, "")))) is not None:
        return dataset
    if month_of(raw) != UNKNOWN_MONTH:
        return MUSIC_ARENA
    given = str(raw.get(fields.BENCHMARK_DATASET, "")).strip()
    return next((dataset for dataset in DATASETS if dataset.name == given), None)


def month_of(raw: Mapping[str, Any]) -> str:
    """Return the month a MusicArena row was collected in, e.g. "01-2025JULAUG"; "unknown" if no path says it."""
    for field in (fields.AUDIO_A, fields.AUDIO_B):
        parts = PurePosixPath(str(raw.get(field) or "").strip()).parts
        if MONTHS_FOLDER[0] in parts:
            # The month is the folder two below; what follows it must be a file's name.
            position = parts.index(MONTHS_FOLDER[0]) + len(MONTHS_FOLDER)
            if position + 1 < len(parts):
                return parts[position]
    return UNKNOWN_MONTH
