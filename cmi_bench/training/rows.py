"""Rows as training reads them: of any source and split, each with the place where it stands.

A source that the benchmark does not know, such as CMI-Pref-Pseudo, is declared as a dataset like a table of one's own,
so that validation measures it as well.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.config import DataConfig
from cmi_bench.data import fields
from cmi_bench.data.chosen import table_settings
from cmi_bench.data.datasets import OWN_SOURCE, Dataset, MosTask, PairTask, dataset_of_source
from cmi_bench.data.declarations import PAIR_TASKS, PREFERENCE_TASK, RATING_TASKS, Declaration, declare, name_of_file
from cmi_bench.data.fields import MOS_RANGE, is_missing
from cmi_bench.data.own import OwnTable, read_own
from cmi_bench.data.rows import Line, Row, read_jsonl, rows_inside, to_row, with_original_names
from cmi_bench.errors import UserError
from cmi_bench.types import Aspect

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""What a row's field `split` can say; rows of other splits are neither learnt from nor looked at."""
_SPELLINGS = {"training": TRAIN, **dict.fromkeys(("valid", "val", "dev"), VALIDATION)}
PSEUDO = "CMI-Pref-Pseudo"
PSEUDO_FOLDER = "cmi-pref-pseudo"
"""Where the audio of CMI-Pref-Pseudo is: what tells its rows from those of CMI-Pref, whatever their source says."""


class PlacedRow(NamedTuple):
    """A row, and where it stands."""

    row: Row
    place: str
    """File and line, for messages."""

    @property
    def split(self) -> str:
        """What the row says itself: one of `TRAIN`, `VALIDATION`, `TEST`, or another word; `TRAIN` where nothing."""
        return split_of(self.row.raw)


def split_of(raw: Mapping[str, Any]) -> str:
    """Return the split that a row says it is of; a row that says nothing is for training."""
    given = raw.get(fields.SPLIT)
    split = TRAIN if is_missing(given) else str(given).strip().lower()
    return _SPELLINGS.get(split, split)


def read_tables(data: DataConfig) -> tuple[OwnTable, ...]:
    """Read all tables of the user's own, and make their datasets known.

    Raises:
        UserError: One cannot be read or understood.
    """
    found = []
    for name, settings in table_settings(data).items():
        table = read_own(settings, name, allow_outside=data.allow_outside)
        table.check()
        declare(table.declaration)
        found.append(table)
    return tuple(found)


def rows_of_table(table: OwnTable, data_root: Path, *, after: int) -> list[PlacedRow]:
    """Return the rows of a table; those of one without a column of splits are for training.

    Args:
        table: The table.
        data_root: What the rows' paths are relative to, where the table's songs are there.
        after: Added to the numbers of lines, so that the rows of several files differ.
    """
    rows = table.all_rows(data_root=data_root, after=after)
    if not table.has_splits:
        rows = [replace(row, raw={**row.raw, fields.SPLIT: TRAIN}) for row in rows]
    return [PlacedRow(row, f"{table.table.file}, {table.table.place(row.index - after)}") for row in rows]


def rows_of_file(file: Path, root: Path, *, allow_outside: bool) -> list[PlacedRow]:
    """Return the rows of a JSON-lines file of the benchmark's form, of all sources and splits, in the file's order.

    Args:
        file: The file.
        root: What its paths are relative to, and theirs stay.
        allow_outside: Whether rows may name audio outside of the root; see `data.rows.leads_outside`.

    Raises:
        UserError: The file or a row is not right.
    """
    rows = with_original_names(_to_rows(list(read_jsonl(file)), file, root), root)
    if not allow_outside:
        rows = rows_inside(rows, root, file)
    return [PlacedRow(row, f"{file}, line {row.index}") for row in rows]


def located(row: Row, root: Path, data_root: Path) -> Row:
    """Return a row with paths below one root as a row whose paths are found from another, the data root."""

    def placed(path: str) -> str:
        return located_path(path, root, data_root)

    return replace(
        row,
        audio_a=placed(row.audio_a),
        audio_b=placed(row.audio_b) if row.audio_b else None,
        ref_audio=placed(row.ref_audio) if row.ref_audio else None,
    )


def located_path(path: str, root: Path, data_root: Path) -> str:
    """Return a path below one root as it is found from another: as it is where they are one, else absolute."""
    return path if root.absolute() == data_root.absolute() else str(root.absolute() / path)


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
