"""What training learns from: rows with the labels that people gave them, on one scale and with a weight each.

Rows are those of `data.train_jsonl` and of tables of the user's own. A source that the benchmark does not know, such
as CMI-Pref-Pseudo, is declared as a dataset like a table of one's own, so that validation measures it as well.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from cmi_bench.config import DataConfig
from cmi_bench.data import fields
from cmi_bench.data.chosen import table_settings
from cmi_bench.data.datasets import OWN_SOURCE, Dataset, MosTask, PairTask, dataset_of_source
from cmi_bench.data.declarations import PAIR_TASKS, PREFERENCE_TASK, RATING_TASKS, Declaration, declare, name_of_file
from cmi_bench.data.fields import MOS_RANGE, Preference, Scale, is_both_bad, is_missing, parse_mos, parse_preference
from cmi_bench.data.own import OwnTable, read_own
from cmi_bench.data.rows import Line, Row, check_inside, read_jsonl, to_row, with_original_names
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.types import Aspect
from cmi_bench.utils.files import is_regular
from cmi_bench.utils.installation import command_line

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""What a row's field `split` can say; rows of other splits are neither learnt from nor looked at."""
_VALIDATION_SPELLINGS = frozenset({VALIDATION, "valid", "val", "dev"})
PSEUDO = "CMI-Pref-Pseudo"
PSEUDO_FOLDER = "cmi-pref-pseudo"
"""Where the audio of CMI-Pref-Pseudo is: what tells its rows from those of CMI-Pref, whatever their source says."""


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

    @property
    def split(self) -> str:
        """What the row says itself: `TRAIN` or `VALIDATION`."""
        return _split_of(self.row.raw)


@dataclass(frozen=True)
class ExampleSet:
    """What there is to learn from, and what was left out."""

    examples: tuple[Example, ...]
    """In the order of their files; `row.index` is theirs alone."""
    unlabelled: Mapping[str, int]
    """Rows without a label, by source."""
    tables: tuple[OwnTable, ...]
    """The user's own tables that were read."""

    def describe(self) -> str:
        """Return how many rows there are of each source, for people."""
        counts = Counter(example.source for example in self.examples)
        named = ", ".join(f"{source} {count:,}" for source, count in counts.items())
        left_out = ", ".join(f"{source} {count:,}" for source, count in self.unlabelled.items())
        return f"{named} rows" + (f"; left out, as they have no label: {left_out}" if left_out else "")


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
    tables = tuple(_read_tables(data))
    rows = _rows_of_file(data) if data.train_jsonl else []
    for table in tables:
        rows += _rows_of_table(table, Path(data.root), after=max((row.index for row in rows), default=0))
    if not rows:
        raise UserError(
            f"data={data.name} has no rows to learn from: neither data.train_jsonl nor a table of one's own.",
            "Give data.train_jsonl=FILE (rows of split train), or data=custom data.csv=FILE.",
        )
    rows = _chosen(rows, sources)
    rows = list(_limited((row for row in rows if _split_of(row.raw) in (TRAIN, VALIDATION)), limit))
    examples = _examples(rows, data, use_confidence=use_confidence)
    labelled = [example for example in examples if example.labels]
    unlabelled = Counter(example.source for example in examples if not example.labels)
    _check_labelled(labelled, unlabelled, sources)
    return ExampleSet(tuple(labelled), dict(unlabelled), tables)


def _split_of(raw: Mapping[str, Any]) -> str:
    given = raw.get(fields.SPLIT)
    split = TRAIN if is_missing(given) else str(given).strip().lower()
    return VALIDATION if split in _VALIDATION_SPELLINGS else split


def _read_tables(data: DataConfig) -> list[OwnTable]:
    found = []
    for name, settings in table_settings(data).items():
        table = read_own(settings, name, allow_outside=data.allow_outside)
        table.check()
        declare(table.declaration)
        found.append(table)
    return found


def _rows_of_table(table: OwnTable, data_root: Path, *, after: int) -> list[Row]:
    rows = table.all_rows(data_root=data_root, after=after)
    if table.has_splits:
        return rows
    return [replace(row, raw={**row.raw, fields.SPLIT: TRAIN}) for row in rows]


def _rows_of_file(data: DataConfig) -> list[Row]:
    file, root = Path(data.train_jsonl or ""), Path(data.train_root)
    if not is_regular(file):
        raise UserError(
            f"There are no training rows: {file} does not exist (data.train_jsonl).",
            f"{command_line('task=prepare', 'data.with_training=true')} gets the public ones.",
        )
    lines = [line for line in read_jsonl(file) if _split_of(line.value) != TEST]
    rows = with_original_names(_to_rows(lines, file, root), root)
    if not data.allow_outside:
        check_inside(rows, root, file)
    return [_placed(row, root, Path(data.root)) for row in rows]


def _to_rows(lines: Sequence[Line], file: Path, root: Path) -> list[Row]:
    """Read lines, those of sources that the benchmark does not know as datasets that are declared here."""
    unknown: dict[str, list[Line]] = defaultdict(list)
    known: dict[int, Dataset] = {}
    for line in lines:
        dataset, name = _dataset_or_name(line, file, root)
        if dataset is None:
            unknown[name].append(line)
        else:
            known[line.number] = dataset
    declared = {name: _declaration(name, of_source, file) for name, of_source in unknown.items()}
    rows = [to_row(line, known[line.number], _where(file, line)) for line in lines if line.number in known]
    for name, of_source in unknown.items():
        declaration = declared[name]
        dataset = declare(declaration)
        own = {fields.SOURCE: OWN_SOURCE + name, fields.DECLARED: declaration.to_json()}
        rows += [to_row(Line(line.number, line.value | own), dataset, _where(file, line)) for line in of_source]
    return sorted(rows, key=lambda row: row.index)


def _where(file: Path, line: Line) -> str:
    return f"{file}, line {line.number}"


def _dataset_or_name(line: Line, file: Path, root: Path) -> tuple[Dataset | None, str]:
    """Return the dataset of a row, or the name of one that the benchmark does not know."""
    first = str(line.value.get(fields.AUDIO_A) or "").replace("\\", "/").partition("/")[0]
    if PSEUDO_FOLDER in (first, root.name):
        return None, PSEUDO
    source = line.value.get(fields.SOURCE)
    if is_missing(source):
        raise UserError(
            f"{_where(file, line)}: the field {fields.SOURCE!r} is missing or empty.",
            "Write where the row comes from: `sampling.sources` and the tables name its source by it.",
        )
    return dataset_of_source(str(source)), name_of_file(str(source))


def _declaration(name: str, lines: Sequence[Line], file: Path) -> Declaration:
    """Declare a source by what its rows have: two clips or one, and which labels."""
    paired = [not is_missing(line.value.get(fields.AUDIO_B)) for line in lines]
    if any(paired) and not all(paired):
        first = lines[paired.index(not paired[0])]
        raise UserError(
            f"{_where(file, first)}: rows of the source {name} have two clips and others have one.",
            "Give pairs and single clips different sources.",
        )
    known: Mapping[str, MosTask | PairTask] = PAIR_TASKS if paired[0] else RATING_TASKS
    tasks = {
        one: task
        for one, task in known.items()
        if any(not is_missing(line.value.get(task.label_field)) for line in lines)
    }
    if Aspect.MUSICALITY in tasks:  # a row has one label of an aspect
        tasks.pop(PREFERENCE_TASK, None)
    return Declaration(name, paired[0], tuple(tasks or known), None if paired[0] else MOS_RANGE)


def _placed(row: Row, root: Path, data_root: Path) -> Row:
    """Return a row whose audio is found from the data root."""
    if root.absolute() == data_root.absolute():
        return row

    def placed(path: str) -> str:
        return str(root.absolute() / path)

    return replace(
        row,
        audio_a=placed(row.audio_a),
        audio_b=placed(row.audio_b) if row.audio_b else None,
        ref_audio=placed(row.ref_audio) if row.ref_audio else None,
    )


def _chosen(rows: Sequence[Row], sources: Collection[str]) -> list[Row]:
    there = dict.fromkeys(row.dataset.slug for row in rows)
    for source in sources:
        if source not in there:
            raise UserError(
                f"There are no training rows of a source {source!r} (sampling.sources).", did_you_mean(source, there)
            )
    return [row for row in rows if not sources or row.dataset.slug in sources]


def _limited(rows: Iterable[Row], limit: int | None) -> Iterable[Row]:
    taken: Counter[str] = Counter()
    for row in rows:
        taken[row.dataset.slug] += 1
        if limit is None or taken[row.dataset.slug] <= limit:
            yield row


def _check_labelled(labelled: Sequence[Example], unlabelled: Mapping[str, int], sources: Collection[str]) -> None:
    with_labels = {example.source for example in labelled}
    for source, count in unlabelled.items():
        if source not in with_labels:
            others = sorted(with_labels - {source})
            instead = f"Leave the source out: sampling.sources=[{','.join(others)}]" if others else "Add labels to them"
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


def _examples(rows: Sequence[Row], data: DataConfig, *, use_confidence: bool) -> list[Example]:
    said = [_said_of(row, data) for row in rows]
    mean = _mean_certainty(rows, said)

    def weight(row: Row, one: _Said) -> float:
        if not use_confidence or one.certainty is None:
            return 1.0
        return one.certainty / mean[row.dataset.slug, one.label.aspect]

    return [
        Example(row, row.dataset.slug, tuple(replace(one.label, weight=weight(row, one)) for one in of_row))
        for row, of_row in zip(rows, said, strict=True)
    ]


def _mean_certainty(rows: Sequence[Row], said: Sequence[Sequence[_Said]]) -> dict[tuple[str, Aspect], float]:
    known: dict[tuple[str, Aspect], list[float]] = defaultdict(list)
    for row, of_row in zip(rows, said, strict=True):
        for one in of_row:
            if one.certainty is not None:
                known[row.dataset.slug, one.label.aspect].append(one.certainty)
    return {key: fmean(values) for key, values in known.items()}
