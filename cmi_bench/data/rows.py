"""Typed, validated rows of the benchmark's JSONL files."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmi_bench.data import fields
from cmi_bench.data.conditions import condition_of
from cmi_bench.data.datasets import DATASETS, Dataset, MosTask, dataset_of_source
from cmi_bench.data.jsonl import Line, read_jsonl
from cmi_bench.data.labels import LabelError, is_missing, parse_mos, parse_preference
from cmi_bench.errors import UserError


@dataclass(frozen=True)
class Row:
    """One line of a benchmark file: one clip with its scores, or two clips with a preference."""

    index: int
    """Line number in the file, from 1: the row's name in messages and in the score table."""
    dataset: Dataset
    audio_a: str
    """Clip A, or the only clip; relative to the data root."""
    audio_b: str | None
    ref_audio: str | None
    prompt: str
    lyrics: str
    raw: Mapping[str, Any]
    """The line's own fields, carried into the results unchanged."""

    @property
    def condition(self) -> str:
        """What the instruction consists of: "text", "text+lyrics", "text+ref" or "text+lyrics+ref".

        The `modality` field wins where it is given.
        """
        return condition_of(self.raw)

    @property
    def audio_files(self) -> tuple[str, ...]:
        """All audio the row names, relative to the data root."""
        return tuple(path for path in (self.audio_a, self.audio_b, self.ref_audio) if path)


@dataclass(frozen=True)
class RowSet:
    """The rows chosen from a file, and what was left out."""

    rows: tuple[Row, ...]
    unknown_sources: Mapping[str, int]
    """Rows of the split whose `source` belongs to none of the datasets, counted by source."""


def load_rows(
    path: Path,
    *,
    split: str = "test",
    datasets: Collection[Dataset] = DATASETS,
    limit: int | None = None,
) -> RowSet:
    """Read and validate the rows of one split.

    Args:
        path: JSON-lines file in the format of the public `all_test.jsonl`.
        split: Rows of other splits are passed over unread.
        datasets: Rows of other datasets are passed over.
        limit: At most this many rows of each dataset, from the file's start; None for all.

    Returns:
        The rows in the file's order.

    Raises:
        UserError: A line that is not JSON, a missing field or a label that is not understood, with
            file, line and field; or no row at all.
    """
    rows: list[Row] = []
    unknown: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for line in read_jsonl(path):
        where = f"{path}, line {line.number}"
        if _required(line, fields.SPLIT, where) != split:
            continue
        source = _required(line, fields.SOURCE, where)
        dataset = dataset_of_source(source)
        if dataset is None:
            unknown[source] += 1
        elif dataset in datasets and (limit is None or taken[dataset.slug] < limit):
            taken[dataset.slug] += 1
            rows.append(to_row(line, dataset, where))
    if not rows:
        names = ", ".join(dataset.name for dataset in datasets)
        raise UserError(
            f"{path} has no row of split {split!r} for {names}.", "Check data.jsonl, data.split and subset."
        )
    return RowSet(tuple(rows), dict(unknown))


def to_row(line: Line, dataset: Dataset, where: str) -> Row:
    """Validate a line.

    Args:
        line: The line's number and object.
        dataset: Whose it is.
        where: How messages name the line.

    Raises:
        UserError: A field is missing or a label not understood.
    """
    _check_labels(line.value, dataset, where)
    return Row(
        index=line.number,
        dataset=dataset,
        audio_a=_required(line, fields.AUDIO_A, where),
        audio_b=_required(line, fields.AUDIO_B, where) if dataset.is_paired else None,
        ref_audio=_optional_text(line, fields.REF_AUDIO, where) or None,
        prompt=_optional_text(line, fields.PROMPT, where),
        lyrics=_optional_text(line, fields.LYRICS, where),
        raw=line.value,
    )


def _required(line: Line, field: str, where: str) -> str:
    value = line.value.get(field)
    if is_missing(value):
        raise UserError(
            f"{where}: the field {field!r} is missing or empty.", f"Rows need {field!r}; see data/README.md."
        )
    return _text(value, field, where)


def _optional_text(line: Line, field: str, where: str) -> str:
    value = line.value.get(field)
    return "" if is_missing(value) else _text(value, field, where)


def _text(value: Any, field: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: the field {field!r} is {value!r}, not text.", "Put it in quotes.")
    return value


def _check_labels(raw: Mapping[str, Any], dataset: Dataset, where: str) -> None:
    """Meet labels that are not understood before hours of scoring, not after."""
    for task in dataset.tasks:
        parse = parse_mos if isinstance(task, MosTask) else parse_preference
        try:
            parse(raw.get(task.label_field))
        except LabelError as error:
            raise UserError(f"{where}: the field {task.label_field!r}: {error}.", "Mend or empty the label.") from error
