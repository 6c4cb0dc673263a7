"""What training learns from: rows with the labels that people gave them, on one scale and with a weight each."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from cmi_bench.config import DataConfig
from cmi_bench.data import fields
from cmi_bench.data.datasets import MosTask, PairTask
from cmi_bench.data.fields import MOS_RANGE, Preference, Scale, is_both_bad, is_missing, parse_mos, parse_preference
from cmi_bench.data.own import OwnTable
from cmi_bench.data.rows import Row
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.training.rows import (
    TEST,
    TRAIN,
    VALIDATION,
    PlacedRow,
    located,
    read_tables,
    rows_of_file,
    rows_of_table,
    split_of,
)
from cmi_bench.types import Aspect
from cmi_bench.utils.files import is_regular
from cmi_bench.utils.installation import command_line


class Outcome(IntEnum):
    """What was said of a pair of clips."""

    A = 0
    B = 1
    TIE = 2
    """Neither is better, or nobody says more than that."""
    BOTH_BAD = 3


@dataclass(frozen=True)
class Label:
    """What was said of a row under one aspect."""

    aspect: Aspect
    value: Outcome | float
    """Of a pair its outcome; of a single clip its rating on the scale from 1 to 5."""
    weight: float = 1.0
    """How much it counts, by the confidence of its annotator or the agreement of its raters; above 0."""


@dataclass(frozen=True)
class Example:
    """A row with at least one label."""

    row: Row
    source: str
    """Where it comes from, as `sampling.sources` and weights by source name it: a dataset's slug."""
    labels: tuple[Label, ...]
    """At most one of each aspect, in the order of the dataset's tasks."""
    place: str = ""
    """The file and the line where the row stands, for messages."""

    @property
    def split(self) -> str:
        """What the row says itself: `TRAIN` or `VALIDATION`."""
        return split_of(self.row.raw)


@dataclass(frozen=True)
class ExampleSet:
    """What there is to learn from, and what was left out."""

    examples: tuple[Example, ...]
    """In the order of their files; `row.index` is theirs alone."""
    unlabelled: Mapping[str, int]
    """Rows without a label, by source."""
    test_rows: tuple[PlacedRow, ...]
    """Rows of split test that stand in the same files, which nothing may be learnt from."""
    other_splits: Mapping[str, int]
    """Rows that are neither of them nor of split test, by what their split is called."""
    tables: tuple[OwnTable, ...]
    """The user's own tables that were read."""

    def describe(self) -> str:
        """Return how many rows there are of each source, for people."""
        counts = Counter(example.source for example in self.examples)
        named = ", ".join(f"{source} {count:,}" for source, count in counts.items())
        unlabelled = ", ".join(f"{source} {count:,}" for source, count in self.unlabelled.items())
        others = ", ".join(f"{split} {count:,}" for split, count in self.other_splits.items())
        without_label = f"; left out, as they have no label: {unlabelled}" if unlabelled else ""
        return named + without_label + (f"; passed over, as they are of another split: {others}" if others else "")


def load_examples(
    data: DataConfig, *, sources: Collection[str] = (), limit: int | None = None, use_confidence: bool = False
) -> ExampleSet:
    """Load the rows that training may learn from or validate on, with their labels.

    A row without a `split`, in a file of training rows or in a table that has no such column, is a training row.

    Args:
        data: Where they are.
        sources: Only these, by slug; empty for all.
        limit: At most this many rows of each source; None for all.
        use_confidence: Weigh each preference by how sure its annotator was, or by the share of its raters who agree.
            Weights are divided by their mean over the source and aspect, so that a source does not weigh more or less
            than without; a row that says nothing weighs 1, like the mean.

    Raises:
        UserError: A file, a row or a label is not right, a source is unknown or has no labels, ratings are on a scale
            that nobody has named, or there is nothing to learn from.
    """
    tables = read_tables(data)
    there = _training_file(data) if data.train_jsonl else []
    for table in tables:
        there += rows_of_table(table, Path(data.root), after=max((one.row.index for one in there), default=0))
    if not there:
        raise UserError(
            f"data={data.name} has no rows to learn from: neither data.train_jsonl nor a table of one's own.",
            "Give data.train_jsonl=FILE (rows of split train), or data=custom data.csv=FILE.",
        )
    rows = [one for one in there if one.split in (TRAIN, VALIDATION)]
    rows = list(_limited(_chosen(rows, sources), limit))
    examples = _examples(rows, data, use_confidence=use_confidence)
    labelled = [example for example in examples if example.labels]
    unlabelled = Counter(example.source for example in examples if not example.labels)
    _check_labelled(labelled, unlabelled)
    test_rows = tuple(one for one in there if one.split == TEST)
    others = Counter(one.split for one in there if one.split not in (TRAIN, VALIDATION, TEST))
    return ExampleSet(tuple(labelled), dict(unlabelled), test_rows, dict(others), tables)


def _training_file(data: DataConfig) -> list[PlacedRow]:
    file, root = Path(data.train_jsonl or ""), Path(data.train_root)
    if not is_regular(file):
        raise UserError(
            f"There are no training rows: {file} does not exist (data.train_jsonl).",
            f"{command_line('task=prepare', 'data.with_training=true')} gets the public ones.",
        )
    rows = rows_of_file(file, root, allow_outside=data.allow_outside)
    return [one._replace(row=located(one.row, root, Path(data.root))) for one in rows]


def _chosen(rows: Sequence[PlacedRow], sources: Collection[str]) -> list[PlacedRow]:
    there = dict.fromkeys(one.row.dataset.slug for one in rows)
    for source in sources:
        if source not in there:
            raise UserError(
                f"There are no training rows of a source {source!r} (sampling.sources).", did_you_mean(source, there)
            )
    return [one for one in rows if not sources or one.row.dataset.slug in sources]


def _limited(rows: Iterable[PlacedRow], limit: int | None) -> Iterable[PlacedRow]:
    taken: Counter[str] = Counter()
    for one in rows:
        taken[one.row.dataset.slug] += 1
        if limit is None or taken[one.row.dataset.slug] <= limit:
            yield one


def _check_labelled(labelled: Sequence[Example], unlabelled: Mapping[str, int]) -> None:
    with_labels = {example.source for example in labelled}
    for source, count in unlabelled.items():
        if source not in with_labels:
            others = ",".join(sorted(with_labels))
            instead = f"Leave the source out: sampling.sources=[{others}]" if others else "Add labels to them"
            raise UserError(
                f"None of the {count:,} rows of the source {source} has a label.",
                f"{instead}; data/README.md has the names of the fields of labels.",
            )
    if not labelled:
        raise UserError(
            "No row is of split train or validation.",
            f"Rows to learn from say \"split\": \"{TRAIN}\", or nothing; those of split test are never learnt from.",
        )  # fmt: skip


class _Said(NamedTuple):
    """A label as it stands in a row."""

    label: Label
    certainty: float | None
    """How sure a preference is: its annotator's confidence, or the share of its raters; None where nothing is said."""


def _said_of(row: Row, data: DataConfig) -> list[_Said]:
    """Return what people said of a row, the first label of each aspect."""
    found: dict[Aspect, _Said] = {}
    for task in row.dataset.tasks:
        given = row.raw.get(task.label_field)
        if is_missing(given) or task.aspect in found:
            continue
        if isinstance(task, PairTask):
            found[task.aspect] = _Said(Label(task.aspect, _outcome(given)), _certainty(row, task))
        else:
            found[task.aspect] = _Said(Label(task.aspect, _rating(given, task, row, data)), None)
    return list(found.values())


def _outcome(given: Any) -> Outcome:
    preference = parse_preference(given)
    if preference is Preference.BOTH:
        return Outcome.BOTH_BAD if is_both_bad(given) else Outcome.TIE
    return Outcome.A if preference is Preference.A else Outcome.B


def _certainty(row: Row, task: PairTask) -> float | None:
    share = row.raw.get(fields.share_field(task.label_field))
    if isinstance(share, float):
        return share
    field = task.confidence_field or fields.confidence_field(task.label_field)
    try:
        return parse_mos(row.raw.get(field), fields.CONFIDENCE_RANGE)
    except fields.LabelError as error:
        raise UserError(
            f"Row {row.index} of {row.dataset.name}: the field {field!r}: {error}.", "Write 1 to 5, or nothing."
        ) from error


def _rating(given: Any, task: MosTask, row: Row, data: DataConfig) -> float:
    if task.scale is None:
        name = row.dataset.name
        key = f"data.own.{name}.scale" if name in data.own else "data.scale"
        raise UserError(
            f"The ratings of {name} are on a scale that is not known, and training needs it.",
            f"Give the lowest and the highest rating that there can be: {key}=[1,5]",
        )
    value = parse_mos(given, task.scale)
    assert value is not None  # empty ones are gone
    return on_mos_scale(value, task.scale)


def on_mos_scale(value: float, scale: Scale) -> float:
    """Map a rating to the scale from 1 to 5, linearly.

    >>> on_mos_scale(7.5, (0, 10))
    4.0
    """
    low, high = MOS_RANGE
    return low + (high - low) * (value - scale[0]) / (scale[1] - scale[0])


def _examples(rows: Sequence[PlacedRow], data: DataConfig, *, use_confidence: bool) -> list[Example]:
    said = [_said_of(one.row, data) for one in rows]
    mean = _mean_certainty(rows, said)

    def label(source: str, one: _Said) -> Label:
        if not use_confidence or one.certainty is None:
            return one.label
        return replace(one.label, weight=one.certainty / mean[source, one.label.aspect])

    return [
        Example(row, source := row.dataset.slug, tuple(label(source, one) for one in of_row), place)
        for (row, place), of_row in zip(rows, said, strict=True)
    ]


def _mean_certainty(rows: Sequence[PlacedRow], said: Sequence[Sequence[_Said]]) -> dict[tuple[str, Aspect], float]:
    known: dict[tuple[str, Aspect], list[float]] = defaultdict(list)
    for (row, _), of_row in zip(rows, said, strict=True):
        for one in of_row:
            if one.certainty is not None:
                known[row.dataset.slug, one.label.aspect].append(one.certainty)
    return {key: fmean(values) for key, values in known.items()}
