"""A table of one's own read as rows: its songs, labels and raters, and what of it cannot be understood.

`read_own` needs nothing of the benchmark but the form of a row, so that whatever takes labelled songs can read them
here: the benchmark's run, `cmi-bench import`, training.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from statistics import fmean
from typing import Any

from cmi_bench.config import TableConfig
from cmi_bench.data import fields
from cmi_bench.data.columns import ASPECTS, Columns, Role, column_named, match_columns, normalised
from cmi_bench.data.datasets import OWN_SOURCE, Dataset
from cmi_bench.data.declarations import (
    PAIR_TASKS,
    PREFERENCE_TASK,
    RATING_TASKS,
    Declaration,
    check_name,
)
from cmi_bench.data.fields import LabelError, Preference, Scale, is_missing, parse_mos, shown
from cmi_bench.data.rows import Line, Row, leads_outside
from cmi_bench.data.tables import Table, read_table
from cmi_bench.data.votes import (
    NO_LABEL,
    OTHER_SIDE,
    Vote,
    answer_text,
    majority,
    meaning_of_digits,
    says_both_bad,
    side_in_words,
)
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.types import Aspect

SPLIT = "test"
"""Of rows that name none."""


@dataclass
class OwnRow:
    """One song, or one pair of songs, with all that was said of it."""

    line: int
    """The first line that has it; it is the row's name in messages."""
    cells: dict[str, Any]
    """By field of a row: the paths, texts and systems, and what the other columns hold."""
    votes: dict[str, list[Vote]] = field(default_factory=dict)
    """By label field."""

    @property
    def audio(self) -> list[str]:
        """The audio that it names."""
        named = (self.cells.get(one) for one in (fields.AUDIO_A, fields.AUDIO_B, fields.REF_AUDIO))
        return [path for path in named if path]


@dataclass
class OwnTable:
    """What was understood of a table, and what was not."""

    name: str
    table: Table
    columns: Columns
    declaration: Declaration
    root: Path
    """What the songs' paths are relative to."""
    rows: list[OwnRow] = field(default_factory=list)
    """In the order of their first lines."""
    problems: list[str] = field(default_factory=list)
    """Why lines cannot be used, each with its number; with any of them the table cannot be scored."""
    repeated: list[int] = field(default_factory=list)
    """Lines that say once more what the same rater said before; they count once."""

    @property
    def dataset(self) -> Dataset:
        """The dataset that it is."""
        return self.declaration.dataset

    @property
    def raters(self) -> Counter[str]:
        """How many labels each rater gave; empty where raters are not named."""
        said = (vote for row in self.rows for votes in row.votes.values() for vote in votes)
        return Counter(vote.rater for vote in said if vote.rater is not None)

    @property
    def has_several_raters(self) -> bool:
        """Whether somebody's labels can be compared with somebody else's."""
        return any(len(votes) > 1 for row in self.rows for votes in row.votes.values())

    def check(self) -> None:
        """Make sure that every line was understood.

        Raises:
            UserError: Some were not; names the first ones.
        """
        if self.problems:
            more = f"\n  and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
            listed = "".join(f"\n  {problem}" for problem in self.problems[:SHOWN])
            count = "1 line" if len(self.problems) == 1 else f"{len(self.problems)} lines"
            raise UserError(
                f"{self.table.file}: {count} cannot be understood.{listed}{more}",
                f"Correct them; cmi-bench import {self.table.file} shows all of them.",
            )

    def raw_rows(self) -> list[dict[str, Any]]:
        """Return the rows in the form of the benchmark's files, with what each rater said and the declaration."""
        with_raters = self.has_several_raters
        return [self._raw(row, with_raters=with_raters) for row in self.rows]

    def _raw(self, row: OwnRow, *, with_raters: bool) -> dict[str, Any]:
        labels: dict[str, Any] = {}
        for task in self.dataset.tasks:
            votes = row.votes.get(task.label_field, [])
            labels |= _label(task.label_field, votes, is_paired=self.declaration.is_paired)
        said: dict[str, Any] = {}
        if with_raters:
            said[fields.RATINGS] = {one: _said(votes) for one, votes in row.votes.items() if votes}
        return row.cells | labels | said | {fields.DECLARED: self.declaration.to_json()}

    @property
    def has_splits(self) -> bool:
        """Whether a column says which split a row belongs to."""
        return Role.SPLIT in self.columns.of

    def split_rows(self, split: str, *, data_root: Path, after: int = 0, limit: int | None = None) -> list[Row]:
        """Return the rows of a split for a run; see `all_rows`.

        Args:
            split: Rows of other splits are left out.
            data_root: What a run's audio paths are relative to.
            after: Added to the numbers of lines.
            limit: At most this many, from the table's start; None for all.
        """
        rows = self.all_rows(data_root=data_root, after=after)
        return [row for row in rows if row.raw[fields.SPLIT] == split][:limit]

    def all_rows(self, *, data_root: Path, after: int = 0) -> list[Row]:
        """Return the rows of all splits.

        Args:
            data_root: What a run's audio paths are relative to: those of a table elsewhere become absolute.
            after: Added to the numbers of lines, so that the rows of several files differ.
        """
        is_here = self.root.absolute() == data_root.absolute()

        def placed(path: str) -> str:
            return path if is_here else str(self.root.absolute() / path)

        return [
            Row(
                index=after + row.line,
                dataset=self.dataset,
                audio_a=placed(raw[fields.AUDIO_A]),
                audio_b=placed(raw[fields.AUDIO_B]) if self.declaration.is_paired else None,
                ref_audio=placed(raw[fields.REF_AUDIO]) if raw.get(fields.REF_AUDIO) else None,
                prompt=raw.get(fields.PROMPT, ""),
                lyrics=raw.get(fields.LYRICS, ""),
                raw=raw,
            )
            for row, raw in zip(self.rows, self.raw_rows(), strict=True)
        ]


SHOWN = 5
"""Lines listed in a message; the count says how many there are."""


def _label(label_field: str, votes: Sequence[Vote], *, is_paired: bool) -> dict[str, Any]:
    if not votes:
        return {label_field: None}
    if not is_paired:
        return {label_field: fmean(vote.value for vote in votes)}
    found = majority([vote.value for vote in votes])
    share = {fields.share_field(label_field): found.share} if len(votes) > 1 else {}
    return {label_field: _answer(found.winner, votes), **share}


def _answer(winner: Preference, votes: Sequence[Vote]) -> str:
    """Return the majority's answer as a row spells it; a tie is "both bad" where most of those who saw one said so."""
    undecided = [vote.is_both_bad for vote in votes if vote.value is Preference.BOTH]
    is_both_bad = winner is Preference.BOTH and sum(undecided) * 2 > len(undecided)
    return fields.BOTH_BAD if is_both_bad else winner.value


def _said(votes: Sequence[Vote]) -> Any:
    values = [vote.value.value if isinstance(vote.value, Preference) else vote.value for vote in votes]
    if any(vote.rater is None for vote in votes):
        return values
    return dict(zip((str(vote.rater) for vote in votes), values, strict=True))


def read_own(settings: TableConfig, name: str, *, allow_outside: bool = False) -> OwnTable:
    """Read a table of songs with ratings, or of pairs with a preference.

    Lines about the same song (or pair), made from the same prompt, lyrics and reference, are one row. A pair that was
    shown the other way round is the same pair.

    Args:
        settings: The file, and what cannot be told from it.
        name: The dataset's name.
        allow_outside: Whether songs may lie outside of the root; see `data.rows.leads_outside`.

    Returns:
        All that could be understood; `OwnTable.check` raises if a line could not.

    Raises:
        UserError: The file cannot be read, or its columns not be understood.
    """
    if not settings.csv:
        raise UserError(f"The dataset {name} has no table.", f"Give it as data.own.{name}.csv=FILE.")
    file = Path(settings.csv).expanduser()
    table = read_table(file)
    aspect = _aspect(settings.aspect)
    columns = match_columns(table.columns, settings.columns, file=str(file))
    declaration = Declaration(
        check_name(name),
        columns.is_paired,
        _tasks(table, columns, aspect),
        _scale(settings, is_paired=columns.is_paired),
        _groups(table, columns, settings.group_by),
    )
    root = _root(settings, table, columns)
    found = OwnTable(name, table, columns, declaration, root)
    _Reader(found, aspect, allow_outside=allow_outside).read()
    return found


def _aspect(given: str | None) -> Aspect | None:
    try:
        return None if given is None else Aspect(given)
    except ValueError:
        raise UserError(f"data.aspect={given} is no aspect.", did_you_mean(given or "", Aspect)) from None


def _tasks(table: Table, columns: Columns, aspect: Aspect | None) -> tuple[str, ...]:
    """Return which tasks the columns, and the values of the column of aspects, speak of."""
    each = (
        {Role.WINNER_MUSICALITY: Aspect.MUSICALITY, Role.WINNER_ALIGNMENT: Aspect.ALIGNMENT}
        if columns.is_paired
        else {Role.MUSICALITY: Aspect.MUSICALITY, Role.ALIGNMENT: Aspect.ALIGNMENT}
    )
    named: set[str] = {one for role, one in each.items() if role in columns.of}
    if not named and Role.ASPECT in columns.of:
        cells = (line.value.get(columns.of[Role.ASPECT]) for line in table.lines)
        named = {ASPECTS[spelled] for cell in cells if (spelled := normalised(str(cell))) in ASPECTS}
        if not named:
            raise UserError(
                f"{table.file}: the column {columns.of[Role.ASPECT]!r} names no aspect.",
                "Write musicality or alignment into it.",
            )
    if not named:
        named = {aspect or (PREFERENCE_TASK if columns.is_paired else Aspect.MUSICALITY)}
    return tuple(one for one in (PAIR_TASKS if columns.is_paired else RATING_TASKS) if one in named)


def _scale(settings: TableConfig, *, is_paired: bool) -> Scale | None:
    if settings.scale is None or is_paired:
        return None
    if len(settings.scale) != 2 or not settings.scale[0] < settings.scale[1]:
        raise UserError(f"data.scale={settings.scale} is no scale.", "Give the lowest and the highest rating: [1,5].")
    return settings.scale[0], settings.scale[1]


FIELDS: Mapping[Role, str] = {
    Role.SONG: fields.AUDIO_A,
    Role.A: fields.AUDIO_A,
    Role.B: fields.AUDIO_B,
    Role.REFERENCE: fields.REF_AUDIO,
    Role.PROMPT: fields.PROMPT,
    Role.LYRICS: fields.LYRICS,
    Role.SYSTEM: fields.SYSTEM_A,
    Role.SYSTEM_A: fields.SYSTEM_A,
    Role.SYSTEM_B: fields.SYSTEM_B,
    Role.GROUP: "group",
}
"""Where a row keeps what a column holds; labels, raters and splits are apart."""
AUDIO_ROLES = (Role.SONG, Role.A, Role.B, Role.REFERENCE)
_TAKEN = frozenset(value for name, value in vars(fields).items() if name.isupper() and isinstance(value, str))


def kept_in(column: str, columns: Columns) -> str:
    """Return the field of a row that a column is kept in; one that means something else there gets `own_` in front."""
    for role, own_field in FIELDS.items():
        if columns.of.get(role) == column:
            return own_field
    reserved = column in _TAKEN or column.startswith(fields.OUTPUT_PREFIXES) or column.endswith(fields.share_field(""))
    return f"own_{column}" if reserved or column in FIELDS.values() else column


def _groups(table: Table, columns: Columns, wanted: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if isinstance(wanted, str):
        wanted = [wanted]
    given = [column_named(one, table.columns, file=str(table.file), key="data.group_by") for one in wanted]
    of_labels = {columns.of[role] for role in columns.of if role not in FIELDS and role is not Role.SPLIT}
    for column in given:
        if column in of_labels:
            raise UserError(
                f"{table.file}: the column {column!r} is not the song's own (data.group_by).",
                did_you_mean(column, [one for one in table.columns if one not in of_labels]),
            )
    if not given and Role.GROUP in columns.of:
        given = [columns.of[Role.GROUP]]
    return tuple((column, fields.SPLIT if column == columns.of.get(Role.SPLIT) else kept_in(column, columns))
                 for column in given)  # fmt: skip


def _root(settings: TableConfig, table: Table, columns: Columns) -> Path:
    """Return what songs are relative to: as given, or the table's folder.

    Where every song has an absolute path, it is the folder that they have in common: nothing relative leads out of it.
    """
    folder = table.file.parent
    root = Path(settings.root).expanduser() if settings.root else folder
    named = [
        Path(cell)
        for line in table.lines
        for role in AUDIO_ROLES
        if role in columns.of and isinstance(cell := line.value.get(columns.of[role]), str) and cell.strip()
    ]
    is_default = root.absolute() == folder.absolute()
    if not is_default or not named or not all(path.is_absolute() for path in named):
        return root
    if not any(leads_outside(root, str(path)) for path in named):
        return root
    common = Path(os.path.commonpath([path.parent for path in named]))
    return root if common == Path(common.anchor) else common


class _Reader:
    """Reads the lines of a table into rows."""

    def __init__(self, found: OwnTable, aspect: Aspect | None, *, allow_outside: bool) -> None:
        self.found = found
        self.columns = found.columns
        self.allow_outside = allow_outside
        self.label_fields = _label_fields(found.columns, aspect)
        self.digits = self._meaning_of_digits()
        self._known: dict[tuple[Any, ...], OwnRow] = {}
        self._said: dict[tuple[int, str, str], Vote] = {}

    def read(self) -> None:
        for line in self.found.table.lines:
            try:
                self._take(line)
            except LabelError as error:
                self.found.problems.append(f"{self.found.table.place(line.number)}: {error}.")
        of_line = sorted(self.found.rows, key=lambda row: row.line)
        self.found.rows[:] = of_line
        self._check_groups()

    def _meaning_of_digits(self) -> Mapping[str, Preference]:
        roles = (Role.WINNER, Role.WINNER_MUSICALITY, Role.WINNER_ALIGNMENT)
        return meaning_of_digits(self._cell(line, role) for role in roles for line in self.found.table.lines)

    def _cell(self, line: Line, role: Role) -> Any:
        column = self.columns.of.get(role)
        return None if column is None else line.value.get(column)

    def _take(self, line: Line) -> None:
        cells = dict.fromkeys((fields.PROMPT, fields.LYRICS, fields.REF_AUDIO), "")
        cells |= {FIELDS[role]: self._text(line, role) for role in FIELDS if role in self.columns.of}
        first, second = cells[fields.AUDIO_A], cells.get(fields.AUDIO_B)
        split = self._text(line, Role.SPLIT) or SPLIT
        votes = list(self._votes(line, first, second or ""))
        is_turned = False
        if second is not None:
            if first == second:
                raise LabelError(f"A and B are the same song, {shown(first)}")
            is_turned = second < first
        key = (*sorted((first, second or "")), split, *(cells[one] for one in
               (fields.PROMPT, fields.LYRICS, fields.REF_AUDIO)))  # fmt: skip
        rater = self._rater(line)
        row = self._known.get(key)
        if row is None:
            own = {fields.SOURCE: OWN_SOURCE + self.found.name, fields.SPLIT: split}
            row = self._known[key] = OwnRow(line.number, own | cells)
            self.found.rows.append(row)
        is_turned = is_turned != ((row.cells.get(fields.AUDIO_B) or "~") < row.cells[fields.AUDIO_A])
        for label_field, value, cell in votes:
            turned = OTHER_SIDE[value] if is_turned and isinstance(value, Preference) else value
            is_both_bad = value is Preference.BOTH and says_both_bad(answer_text(cell))
            self._add(row, label_field, Vote(rater, turned, line.number, is_both_bad))
        for column in self.columns.unused:
            _carry(row, kept_in(column, self.columns), line.value.get(column), is_first=row.line == line.number)

    def _text(self, line: Line, role: Role) -> str:
        """Return a cell's text; a song's path with forward slashes, relative to the root where it lies below it."""
        value = self._cell(line, role)
        if is_missing(value):
            if role in (Role.SONG, Role.A, Role.B):
                raise LabelError(f"the column {self.columns.of[role]!r} names no song")
            return ""
        if isinstance(value, list | dict | bool):
            raise LabelError(f"the column {self.columns.of[role]!r} holds {shown(value)}, not text")
        text = str(value).strip() if role not in (Role.PROMPT, Role.LYRICS) else str(value)
        return self._path(text) if role in AUDIO_ROLES else text

    def _path(self, text: str) -> str:
        if "\0" in text:
            raise LabelError(f"{shown(text)} cannot be a file's name")
        if "\\" in text and "/" not in text:  # from a table that was made on Windows
            text = PureWindowsPath(text).as_posix()
        root = self.found.root
        if not self.allow_outside and leads_outside(root, text):
            raise LabelError(
                f"{text} lies outside of {root} (set data.root to a folder that holds all songs, or"
                " data.allow_outside=true if you trust the table)"
            )
        path = Path(text)
        if path.is_absolute() and path.is_relative_to(root.absolute()):
            return path.relative_to(root.absolute()).as_posix()
        return Path(os.path.normpath(text)).as_posix() if not path.is_absolute() and ".." not in path.parts else text

    def _rater(self, line: Line) -> str | None:
        if Role.RATER not in self.columns.of:
            return None
        value = self._cell(line, Role.RATER)
        if is_missing(value):
            raise LabelError(f"the column {self.columns.of[Role.RATER]!r} names no rater")
        return str(value).strip()

    def _votes(self, line: Line, first: str, second: str) -> "list[tuple[str, Any, Any]]":
        """Return the labels of a line: where each goes, its value and its cell; empty cells have none."""
        found = []
        for role, label_field in self.label_fields.items():
            cell = self._cell(line, role)
            if is_missing(cell) or (isinstance(cell, str) and cell.strip().lower() in NO_LABEL):
                continue
            value = self._winner(line, cell, first, second) if self.columns.is_paired else self._rating(cell)
            found.append((label_field or self._field_of_aspect(line), value, cell))
        return found

    def _field_of_aspect(self, line: Line) -> str:
        cell = self._cell(line, Role.ASPECT)
        aspect = ASPECTS.get(normalised(str(cell)))
        if aspect is None:
            raise LabelError(f"{shown(cell)} is no aspect (musicality or alignment); leave such lines out of the table")
        return (PAIR_TASKS if self.columns.is_paired else RATING_TASKS)[aspect].label_field

    def _rating(self, cell: Any) -> float:
        if self.found.table.decimal_comma and isinstance(cell, str):
            cell = cell.replace(",", ".")
        value = parse_mos(cell, None)
        assert value is not None  # empty cells are gone
        scale = self.found.declaration.scale
        if scale is not None and not scale[0] <= value <= scale[1]:
            raise LabelError(f"{shown(cell)} is not on the scale from {scale[0]:g} to {scale[1]:g}")
        return value

    def _winner(self, line: Line, cell: Any, first: str, second: str) -> Preference:
        """Read who won: a side as people spell it, or the winner's path or system."""
        text = answer_text(cell)
        side = self.digits.get(text) or side_in_words(text)
        if side is not None:
            return side
        systems = [str(self._cell(line, role) or "").strip() for role in (Role.SYSTEM_A, Role.SYSTEM_B)]
        written = [str(self._cell(line, role) or "").strip() for role in (Role.A, Role.B)]
        for a, b in ((first, second), written, systems):
            if a != b and text in (a, b):
                return Preference.A if text == a else Preference.B
        if text in ("0", "1", "2", "-1"):
            raise LabelError(f"{shown(text)} does not say who won: write A, B or tie")
        raise LabelError(f"{shown(text)} does not say who won (A, B, tie, or the winner's song or system)")

    def _add(self, row: OwnRow, label_field: str, vote: Vote) -> None:
        if vote.rater is not None:
            earlier = self._said.setdefault((id(row), label_field, vote.rater), vote)
            if earlier is not vote:
                place = self.found.table.place(earlier.line)
                if earlier.value != vote.value:
                    raise LabelError(f"{vote.rater} judged this before, and differently ({place})")
                self.found.repeated.append(vote.line)
                return
        row.votes.setdefault(label_field, []).append(vote)

    def _check_groups(self) -> None:
        for column, own_field in self.found.declaration.group_by:
            for row in self.found.rows:
                if isinstance(row.cells.get(own_field), _Several):
                    values = ", ".join(map(str, row.cells[own_field]))
                    self.found.problems.append(
                        f"{self.found.table.place(row.line)}: lines about the same song differ in {column!r}, which"
                        f" groups are made of ({values})."
                    )


def _label_fields(columns: Columns, aspect: Aspect | None) -> dict[Role, str]:
    """Return where the labels of each column go; "" where another column says it line by line."""
    tasks: Mapping[str, Any] = PAIR_TASKS if columns.is_paired else RATING_TASKS
    one, each = (
        (Role.WINNER, {Role.WINNER_MUSICALITY: Aspect.MUSICALITY, Role.WINNER_ALIGNMENT: Aspect.ALIGNMENT})
        if columns.is_paired
        else (Role.RATING, {Role.MUSICALITY: Aspect.MUSICALITY, Role.ALIGNMENT: Aspect.ALIGNMENT})
    )
    found = {role: tasks[name].label_field for role, name in each.items() if role in columns.of}
    if one in columns.of:
        name = aspect or (PREFERENCE_TASK if columns.is_paired else Aspect.MUSICALITY)
        found[one] = "" if Role.ASPECT in columns.of else tasks[name].label_field
    return found


def _carry(row: OwnRow, own_field: str, value: Any, *, is_first: bool) -> None:
    """Keep what a column holds; where the lines of a row differ in it, the values of all of them."""
    if is_first:
        row.cells[own_field] = value
        return
    known = row.cells.get(own_field)
    several = known if isinstance(known, _Several) else _Several([known])
    if value not in several:
        row.cells[own_field] = _Several([*several, value])


class _Several(list[Any]):
    """The different values that the lines of a row have in a column."""
