"""Whether the rows are those of the benchmark, and can be used."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmi_bench.data import fields
from cmi_bench.data.datasets import DATASETS, Dataset, PairTask, dataset_of_source
from cmi_bench.data.jsonl import Line, parse_object
from cmi_bench.data.labels import is_missing
from cmi_bench.data.prepare.paths import is_inside
from cmi_bench.data.rows import Row, to_row
from cmi_bench.doctor.finding import Finding, Status, some_of
from cmi_bench.errors import UserError

AREA = "rows"
CONFIDENCES = {str(half / 2) for half in range(2, 11)} | {str(whole) for whole in range(1, 6)}


@dataclass
class ExaminedRows:
    """The rows of a file, good and bad."""

    rows: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Why a line cannot be used, each with its number."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Rows by a `source` that belongs to no dataset."""
    same_as_before: list[int] = field(default_factory=list)
    """Lines that say the same as an earlier one."""


def examine_rows(file: Path, *, split: str, datasets: tuple[Dataset, ...] = DATASETS) -> ExaminedRows:
    """Read as much of a rows' file as can be read.

    Raises:
        UserError: There is no such file, or it is no text.
    """
    examined = ExaminedRows()
    seen: set[str] = set()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            _take(Line(number, parse_object(text, f"line {number}")), examined, split=split, datasets=datasets)
        except UserError as error:
            examined.errors.append(error.what)
        if text in seen:
            examined.same_as_before.append(number)
        seen.add(text)
    return examined


def _take(line: Line, examined: ExaminedRows, *, split: str, datasets: tuple[Dataset, ...]) -> None:
    if line.value.get(fields.SPLIT) != split:
        return
    source = str(line.value.get(fields.SOURCE))
    dataset = dataset_of_source(source)
    if dataset is None:
        examined.unknown[source] += 1
    elif dataset in datasets:
        examined.rows.append(to_row(line, dataset, f"line {line.number}"))


def check_rows(
    examined: ExaminedRows, datasets: tuple[Dataset, ...], expected: Mapping[str, int], *, mend: str
) -> Iterator[Finding]:
    """Judge the rows.

    Args:
        examined: The rows.
        datasets: Those that were asked for.
        expected: How many rows each dataset has in the whole benchmark, by slug; empty where nobody knows.
        mend: The command that gets the file again.
    """
    counts = Counter(row.dataset.slug for row in examined.rows)
    for dataset in datasets:
        there, wanted = counts[dataset.slug], expected.get(dataset.slug, counts[dataset.slug])
        right = there == wanted and there > 0
        found = f"{there:,} rows" if right else f"{there:,} rows instead of {wanted or 'some'}."
        yield Finding(AREA, dataset.name, Status.OK if right else Status.PROBLEM, found, "" if right else mend)
    if examined.errors:
        found = f"{len(examined.errors)} lines cannot be used: {some_of(examined.errors)}"
        yield Finding(AREA, "lines", Status.PROBLEM, found, mend)
    if examined.unknown:
        found = f"{examined.unknown.total()} rows are of no dataset: source {some_of(sorted(examined.unknown))}."
        yield Finding(
            AREA, "sources", Status.WARNING, found, "They are left out; mend their `source`, or leave them so"
        )
    if examined.same_as_before:
        found = f"Lines that say the same as an earlier one: {some_of([str(one) for one in examined.same_as_before])}."
        yield Finding(AREA, "duplicates", Status.WARNING, found, mend)
    yield from _check_labels(examined.rows, mend)
    yield from _check_paths(examined.rows, mend)


def _check_labels(rows: list[Row], mend: str) -> Iterator[Finding]:
    bare = [row for row in rows if all(is_missing(row.raw.get(task.label_field)) for task in row.dataset.tasks)]
    if bare:
        found = f"{len(bare)} rows have no label and are not evaluated: line {some_of(_lines(bare))}."
        yield Finding(AREA, "labels", Status.WARNING, found, mend)
    odd = [row for row in rows if any(not _is_confidence(row, task) for task in row.dataset.tasks)]
    if odd:
        found = f"{len(odd)} rows have a confidence that is none of 1, 1.5, ... 5: line {some_of(_lines(odd))}."
        yield Finding(AREA, "confidences", Status.WARNING, found, mend)


def _is_confidence(row: Row, task: object) -> bool:
    if not isinstance(task, PairTask) or task.confidence_field is None:
        return True
    value = row.raw.get(task.confidence_field)
    return is_missing(value) or str(value).strip() in CONFIDENCES


def _check_paths(rows: list[Row], mend: str) -> Iterator[Finding]:
    outside = [row for row in rows if not all(is_inside(path) for path in row.audio_files)]
    if outside:
        found = f"{len(outside)} rows name audio outside the data root: line {some_of(_lines(outside))}."
        yield Finding(AREA, "paths", Status.PROBLEM, found, mend)
    twins = [row for row in rows if row.audio_b is not None and row.audio_a == row.audio_b]
    if twins:
        found = f"{len(twins)} rows compare a clip with itself: line {some_of(_lines(twins))}."
        yield Finding(AREA, "pairs", Status.WARNING, found, mend)


def _lines(rows: list[Row]) -> list[str]:
    return [str(row.index) for row in rows]
