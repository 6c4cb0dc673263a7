"""Rows of the benchmark and of results: JSON-lines files, read with errors that name file, line and field."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.data import fields
from cmi_bench.data.datasets import Dataset, MosTask, all_datasets, condition_of, dataset_of_source
from cmi_bench.data.fields import MAX_SHOWN, LabelError, is_missing, parse_mos, parse_preference, shown
from cmi_bench.errors import UserError
from cmi_bench.utils.documents import parse_json, read_document
from cmi_bench.utils.files import is_regular, open_regular
from cmi_bench.utils.installation import command_line
from cmi_bench.utils.json_lines import JsonLines
from cmi_bench.utils.spool import keep


class Line(NamedTuple):
    """One object of a JSON-lines file."""

    number: int
    """Counted from 1, as editors do."""
    value: dict[str, Any]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file that are not blank, with their numbers from 1.

    Only a line feed ends a line: U+2028, U+0085 and others, which `str.splitlines` splits at, occur in lyrics. A byte
    order mark at the start is passed over.

    Raises:
        UserError: The file is missing, no regular file, or not UTF-8.
    """
    try:
        with open_regular(path) as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{path}, line {number} cannot be read as UTF-8 text: {error}", "Save the file as UTF-8."
                    ) from error
                if text.strip():
                    yield number, text.rstrip("\r\n")
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist.",
            f"Check the path; the benchmark's data are had with {command_line('task=prepare')}.",
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error


def read_jsonl(path: Path) -> Iterator[Line]:
    """Yield the objects of a JSON-lines file; blank lines are passed over.

    Raises:
        UserError: The file is missing or not UTF-8, or a line is not one JSON object.
    """
    for number, text in read_lines(path):
        yield Line(number, parse_object(text, f"{path}, line {number}"))


def parse_object(text: str, where: str) -> dict[str, Any]:
    """Read one line.

    Raises:
        UserError: It is not one JSON object, or see `parse_json`; the message begins with `where`.
    """
    value = parse_json(text, where, hint="Each line must be one JSON object.")
    if not isinstance(value, dict):
        raise UserError(f"{where}: a JSON {type(value).__name__}, not an object.", "Each line must be one JSON object.")
    return value


RESULTS_FILE = "results.jsonl"


def results_file(path: Path) -> Path:
    """Return the results file that a path names: the file itself, or that of a run's folder."""
    return path / RESULTS_FILE if path.is_dir() else path


def read_results(file: Path) -> JsonLines:
    """Return the rows of a results file, which stay in the file; each line of it is looked at once.

    Raises:
        UserError: The file is missing, empty, or not readable as JSON lines.
    """
    if not file.exists():
        runs = sorted(file.parent.glob(f"*/{RESULTS_FILE}"))  # the names of runs' folders are times
        hint = f"{file.parent} holds runs, the last of them {runs[-1].parent}." if runs else "A run's folder holds it."
        raise UserError(f"{file} does not exist.", f"{hint} {command_line('task=list')} shows past runs.")
    if not sum(1 for _ in read_jsonl(file)):
        raise UserError(f"{file} is empty.", "Was the run finished? A results file has one JSON object a line.")
    return JsonLines(file)


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


def names_anywhere(rows: Iterable[Row]) -> dict[str, str]:
    """Return what audio is called on every machine, where a path says where it lies on this one.

    That is of rows whose audio is not below the run's data root: those of the user's own, and training rows.
    """
    audio_fields = (fields.AUDIO_A, fields.AUDIO_B, fields.REF_AUDIO)
    return {
        path: str(name)
        for row in rows
        for path, field in zip((row.audio_a, row.audio_b, row.ref_audio), audio_fields, strict=True)
        if path and (name := row.raw.get(field)) and name != path
    }


def keep_rows(rows: Iterable[Row]) -> Sequence[Row]:
    """Return rows as a sequence: a few of them in memory, many in a temporary file; see `utils.spool`."""
    datasets: list[Dataset] = []

    def pack(row: Row) -> tuple[Any, ...]:
        if row.dataset not in datasets:
            datasets.append(row.dataset)
        place = datasets.index(row.dataset)
        return row.index, place, row.audio_a, row.audio_b, row.ref_audio, row.prompt, row.lyrics, row.raw

    def unpack(values: tuple[Any, ...]) -> Row:
        index, place, *others = values
        return Row(index, datasets[place], *others)

    return keep(rows, pack=pack, unpack=unpack)


@dataclass(frozen=True)
class RowSet:
    """The rows chosen from a file, and what was left out."""

    rows: Sequence[Row]
    unknown_sources: Mapping[str, int]
    """Rows of the split whose `source` belongs to none of the datasets, counted by source."""


def load_rows(
    path: Path,
    *,
    split: str = "test",
    datasets: Collection[Dataset] | None = None,
    limit: int | None = None,
) -> RowSet:
    """Read and validate the rows of one split.

    Args:
        path: JSON-lines file in the format of the public `all_test.jsonl`.
        split: Rows of other splits are passed over unread.
        datasets: Rows of other datasets are passed over; None for all datasets.
        limit: At most this many rows of each dataset, from the file's start; None for all.

    Returns:
        The rows in the file's order.

    Raises:
        UserError: A line that is not JSON, a missing field or a label that is not understood, with
            file, line and field; or no row at all.
    """
    unknown: Counter[str] = Counter()
    rows = keep_rows(iter_rows(path, split=split, datasets=datasets, limit=limit, unknown=unknown))
    return RowSet(rows, dict(unknown))


def iter_rows(
    path: Path, *, split: str, datasets: Collection[Dataset] | None, limit: int | None, unknown: Counter[str]
) -> Iterator[Row]:
    """Yield what `load_rows` returns, as it is read.

    Args:
        path: See `load_rows`, also for what is raised.
        split: The split.
        datasets: Whose rows.
        limit: At most so many of each.
        unknown: Takes the sources that belong to none of the datasets.
    """
    datasets = all_datasets() if datasets is None else datasets
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
            yield to_row(line, dataset, where)
    if not taken:
        names = ", ".join(dataset.name for dataset in datasets)
        raise UserError(
            f"{path} has no row of split {split!r} for {names}.", "Check data.jsonl, data.split and subset."
        )


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
        audio_a=_file_name(_required, line, fields.AUDIO_A, where),
        audio_b=_file_name(_required, line, fields.AUDIO_B, where) if dataset.is_paired else None,
        ref_audio=_file_name(_optional_text, line, fields.REF_AUDIO, where) or None,
        prompt=_optional_text(line, fields.PROMPT, where),
        lyrics=_optional_text(line, fields.LYRICS, where),
        raw=line.value,
    )


NAMES_FILE = "_names.json"
"""Appended to the name of a folder with audio: what its files were called before, by what they are called now."""


def with_original_names(rows: Iterable[Row], root: Path) -> Iterator[Row]:
    """Yield the rows with their clips' original names, where `task=prepare` wrote those down.

    Args:
        rows: As `load_rows` read them.
        root: Data root.

    Raises:
        UserError: A file of names is no JSON object.
    """
    names_of: dict[str, Any] = {}
    for row in rows:
        folder, _, name = row.audio_a.rpartition("/")
        if folder not in names_of:
            file = root / f"{folder}{NAMES_FILE}"
            names_of[folder] = read_document(file) if folder and is_regular(file) else {}
            if not isinstance(names_of[folder], dict):
                raise UserError(f"{file} is no JSON object.", f"Remove it: {command_line('task=prepare')} writes it.")
        original = names_of[folder].get(name)
        yield replace(row, raw={**row.raw, fields.ORIGINAL_NAME: original}) if original else row


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
        raise UserError(f"{where}: the field {field!r} is {shown(value)}, not text.", "Put it in quotes.")
    return value


def _file_name(read: Callable[[Line, str, str], str], line: Line, field: str, where: str) -> str:
    value = read(line, field, where)
    if "\0" in value:
        raise UserError(
            f"{where}: the field {field!r} is {shown(value)}, which no file can be called: it holds a NUL character.",
            "Write the audio's path, relative to data.root.",
        )
    return value


def _check_labels(raw: Mapping[str, Any], dataset: Dataset, where: str) -> None:
    """Meet labels that are not understood before hours of scoring, not after."""
    for task in dataset.tasks:
        label = raw.get(task.label_field)
        try:
            parse_mos(label, task.scale) if isinstance(task, MosTask) else parse_preference(label)
        except LabelError as error:
            raise UserError(f"{where}: the field {task.label_field!r}: {error}.", "Fix or empty the label.") from error


def leads_outside(root: Path, audio: str) -> bool:
    """Tell whether the path in a row leads out of the data root.

    Links below the root are followed wherever they lead, as whoever made the root made them: to another disk, or into
    a cache. A row can neither climb out (`..`, also from behind a link) nor name another place by an absolute path.
    """
    path = Path(audio)
    if ".." not in path.parts and (not path.is_absolute() or path.is_relative_to(root.absolute())):
        return False
    try:
        return not Path(os.path.realpath(root / path)).is_relative_to(os.path.realpath(root))
    except ValueError:  # a name that no file has: nowhere below the root
        return True


def rows_inside(rows: Iterable[Row], root: Path, file: Path) -> Iterator[Row]:
    """Yield rows, all of which name audio below the data root only; see `leads_outside`.

    Args:
        rows: Rows.
        root: The data root.
        file: Where the rows stand, for messages.

    Raises:
        UserError: A row names audio elsewhere; raised at the end, when all of them are counted.
    """
    first: tuple[int, str] | None = None
    leading_out = 0
    is_outside = lru_cache(PATHS_REMEMBERED)(partial(leads_outside, root))
    for row in rows:
        outside = [path for path in row.audio_files if is_outside(path)]
        leading_out += bool(outside)
        first = first or ((row.index, outside[0]) if outside else None)
        yield row
    if first:
        line, path = first
        others = leading_out - 1
        more = f" So do {others} more rows." if others > 1 else " So does 1 more row." if others else ""
        raise UserError(
            f"{file}, line {line} names audio outside of the data root {root}: {path}.{more}",
            "Write paths relative to data.root, or read them where they are, if you trust the file:"
            " data.allow_outside=true.",
        )


PATHS_REMEMBERED = 1 << 16
"""Where many rows name one file, it is looked at once as long as it is among the last so many."""
SHOWN = 5
"""Missing files listed in a message; the count says how many there are."""


def missing_audio(rows: Iterable[Row], root: Path) -> list[str]:
    """Return the files that rows name and the data root lacks, each once, in the rows' order.

    What is there and is no regular file (a folder, a pipe, a device) is lacking too.
    """
    is_there = lru_cache(PATHS_REMEMBERED)(lambda path: is_regular(root / path))
    return list(dict.fromkeys(path for row in rows for path in row.audio_files if not is_there(path)))


def describe_missing(missing: list[str], root: Path) -> str:
    """Return a sentence with the count and the first few of the missing files, and what else is wrong with them."""
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    files = "1 audio file is" if len(missing) == 1 else f"{len(missing)} audio files are"
    return f"{files} missing under {root}: {', '.join(_with_reason(path, root) for path in missing[:SHOWN])}{more}."


def _with_reason(path: str, root: Path) -> str:
    name = path if len(path) <= MAX_SHOWN else f"{path[:MAX_SHOWN]}..."
    try:
        open_regular(root / path).close()
    except FileNotFoundError:
        return name
    except OSError as error:
        return f"{name} ({error.strerror})"
    return name
